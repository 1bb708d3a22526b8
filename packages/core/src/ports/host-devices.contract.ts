// What every HostDevices must do: tell what there is, hand devices over and take them back, again and again. The second part
// needs devices that may be taken from the host: a model of the kernel has them, and the lab.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isPciAddress } from '../domain/devices/pci-device.ts';
import type { HostDevices } from './host-devices.ts';

export interface InventoryUnderTest {
  readonly devices: HostDevices;
  /** Whether the host has a device with the address. */
  exists(address: string): Promise<boolean>;
}

export interface BindingUnderTest {
  /** Another object on the same host, as after a restart. */
  open(): HostDevices;
  /** An endpoint with a driver, that the host does without. */
  readonly endpoint: string;
  /** A device that can have four virtual functions or more, and has none. */
  readonly physical: string;
  driverOf(address: string): Promise<string | undefined>;
  destroy(): Promise<void>;
}

const signal = (): AbortSignal => AbortSignal.timeout(60_000);

export function hostInventoryContract(name: string, make: () => Promise<InventoryUnderTest>): void {
  describe(`${name} as the inventory of HostDevices`, () => {
    it('has devices that exist, each once, in order', async () => {
      const { devices, exists } = await make();
      const inventory = await devices.inventory(signal());
      const addresses = inventory.map(({ address }) => address);
      expect(addresses).toEqual([...new Set(addresses)].toSorted());
      for (const { address, vendorId, deviceId } of inventory) {
        expect(isPciAddress(address)).toBe(true);
        expect(await exists(address)).toBe(true);
        expect([vendorId, deviceId].join(':')).toMatch(/^[0-9a-f]{4}:[0-9a-f]{4}$/);
      }
    });

    it('agrees with itself: members of a group, and functions of a device, name each other', async () => {
      const { devices } = await make();
      const inventory = await devices.inventory(signal());
      const at = (address: string) => inventory.find((device) => device.address === address);
      for (const { address, iommuGroup, groupMembers, sriov } of inventory) {
        for (const member of groupMembers) {
          expect(at(member)?.iommuGroup).toBe(iommuGroup);
          expect(at(member)?.groupMembers).toContain(address);
        }
        for (const vf of sriov.vfs) expect(at(vf)?.sriov.physicalFunction).toBe(address);
        expect(sriov.isVf).toBe(sriov.physicalFunction !== undefined);
      }
    });

    it('says that there is no such device, whatever is asked of it', async () => {
      const { devices } = await make();
      for (const address of ['ffff:ff:1f.7', '../..', '']) {
        const gone = { code: 'device.not_found' };
        await expect(devices.bind(address, signal())).rejects.toMatchObject(gone);
        await expect(devices.createVfs(address, 1, signal())).rejects.toMatchObject(gone);
        await expect(devices.removeVfs(address, signal())).rejects.toMatchObject(gone);
      }
      // Nothing is left to do for one that is gone.
      await devices.release('ffff:ff:1f.7', 'igb', signal());
      await expect(devices.release('../..', 'igb', signal())).rejects.toMatchObject({
        code: 'device.not_found',
      });
    });

    it('gives up when told to', async () => {
      const { devices } = await make();
      await expect(devices.inventory(AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough');
    });
  });
}

export function hostBindingContract(name: string, make: () => Promise<BindingUnderTest>): void {
  describe(`${name} as HostDevices`, () => {
    let under: BindingUnderTest;
    let devices: HostDevices;
    const seen = async (address: string) =>
      (await devices.inventory(signal())).find((device) => device.address === address);

    beforeEach(async () => {
      under = await make();
      devices = under.open();
    });
    afterEach(async () => {
      await under.destroy();
    });

    it('takes a device from its driver, and gives it back', async () => {
      const { endpoint } = under;
      const before = await seen(endpoint);
      await devices.bind(endpoint, signal());
      expect(await under.driverOf(endpoint)).toBe('vfio-pci');
      await devices.release(endpoint, before?.driver, signal());
      expect(await under.driverOf(endpoint)).toBe(before?.driver);
      expect(await seen(endpoint)).toEqual(before);
    });

    it('does nothing a second time', async () => {
      const { endpoint } = under;
      const former = await under.driverOf(endpoint);
      for (const _ of [1, 2]) {
        await devices.bind(endpoint, signal());
        await devices.bind(endpoint, signal());
        expect(await under.driverOf(endpoint)).toBe('vfio-pci');
        await devices.release(endpoint, former, signal());
        await devices.release(endpoint, former, signal());
        expect(await under.driverOf(endpoint)).toBe(former);
      }
    });

    it('gives back what was bound before a restart, from what was written down', async () => {
      const { endpoint } = under;
      const former = await under.driverOf(endpoint);
      await devices.bind(endpoint, signal());
      const again = under.open();
      await again.bind(endpoint, signal());
      await again.release(endpoint, former, signal());
      expect(await under.driverOf(endpoint)).toBe(former);
    });

    it('leaves a device without a driver, when it had none', async () => {
      const { endpoint } = under;
      const former = await under.driverOf(endpoint);
      await devices.bind(endpoint, signal());
      await devices.release(endpoint, undefined, signal());
      expect(await under.driverOf(endpoint)).toBeUndefined();
      await devices.bind(endpoint, signal());
      await devices.release(endpoint, former, signal());
      expect(await under.driverOf(endpoint)).toBe(former);
    });

    it('makes virtual functions that no driver has, and takes them away', async () => {
      const { physical } = under;
      const before = await seen(physical);
      const vfs = await devices.createVfs(physical, 2, signal());
      expect(vfs).toHaveLength(2);
      expect((await seen(physical))?.sriov).toMatchObject({ numVfs: 2, vfs });
      for (const vf of vfs) {
        expect(await under.driverOf(vf)).toBeUndefined();
        expect((await seen(vf))?.sriov).toMatchObject({ isVf: true, physicalFunction: physical });
      }
      expect(await devices.createVfs(physical, 2, signal())).toEqual(vfs);
      expect(await devices.createVfs(physical, 3, signal())).toHaveLength(3);
      await devices.removeVfs(physical, signal());
      await devices.removeVfs(physical, signal());
      expect(await seen(physical)).toEqual(before);
      for (const vf of vfs) expect(await seen(vf)).toBeUndefined();
    });

    it('hands over a virtual function, and keeps it while somebody may have it', async () => {
      const { physical } = under;
      const [vf = ''] = await devices.createVfs(physical, 2, signal());
      await devices.bind(vf, signal());
      expect(await under.driverOf(vf)).toBe('vfio-pci');
      const inUse = { code: 'device.in_use', message: expect.stringContaining(vf) };
      await expect(devices.removeVfs(physical, signal())).rejects.toMatchObject(inUse);
      await expect(devices.createVfs(physical, 4, signal())).rejects.toMatchObject(inUse);
      await expect(devices.bind(physical, signal())).rejects.toMatchObject({ code: 'device.in_use' });
      await devices.release(vf, undefined, signal());
      expect(await under.driverOf(vf)).toBeUndefined();
      await devices.removeVfs(physical, signal());
    });

    it('makes no more virtual functions than the device has', async () => {
      const { physical, endpoint } = under;
      const total = (await seen(physical))?.sriov.totalVfs ?? 0;
      for (const count of [total + 1, 0, -1, 1.5])
        await expect(devices.createVfs(physical, count, signal())).rejects.toMatchObject({
          code: 'device.unsupported',
          details: { totalVfs: total },
        });
      await expect(devices.createVfs(endpoint, 1, signal())).rejects.toMatchObject({
        code: 'device.unsupported',
      });
      expect((await seen(physical))?.sriov.numVfs).toBe(0);
    });
  });
}
