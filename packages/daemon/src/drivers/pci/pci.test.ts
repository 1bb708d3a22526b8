import { hostBindingContract, hostInventoryContract } from '@wirt/core/contract/host-devices';
import { afterEach, describe, expect, it } from 'vitest';
import { removeFiles, writeTable } from '../../platform/host-files.fixture.ts';
import { UnansweredWrite } from '../../platform/sysfs-writes.ts';
import { errno, type FakeBus, type FakeDevice, fakeBus } from './fake-bus.fixture.ts';
import { createHostDevices } from './pci.ts';

afterEach(removeFiles);

const [card, split, disk] = ['0000:03:00.0', '0000:05:00.0', '0000:03:00.1'];
const signal = (): AbortSignal => AbortSignal.timeout(10_000);
const claims = async () => new Map<string, string>();
const devicesOn = (bus: FakeBus) => createHostDevices({ ...bus, addresses: () => ({}), claims });

async function hostWith(...devices: readonly FakeDevice[]): Promise<FakeBus> {
  const bus = await fakeBus();
  bus.add({ address: card, class: '0x020000', driver: 'igb', group: 7, reset: 'flr' });
  bus.add({ address: split, class: '0x020000', driver: 'igb', group: 9, reset: 'flr', totalVfs: 7 });
  for (const device of devices) bus.add(device);
  return bus;
}

hostInventoryContract('a model of the kernel', async () => {
  const bus = await hostWith({ address: disk, class: '0x010601', group: 7 });
  await devicesOn(bus).createVfs(split, 3, signal());
  return {
    devices: devicesOn(bus),
    exists: (address) => bus.files.exists(`/sys/bus/pci/devices/${address}`),
  };
});

hostBindingContract('a model of the kernel', async () => {
  const bus = await hostWith();
  return {
    open: () => devicesOn(bus),
    endpoint: card,
    physical: split,
    driverOf: async (address) => bus.driverOf(address),
    destroy: async () => {
      // Whatever a test did: what it gave back is open to all drivers.
      for (const address of [card, split]) expect(bus.override(address)).toMatch(/^(\(null\)|vfio-pci)$/);
      await removeFiles();
    },
  };
});

describe('handing over a device', () => {
  it('goes by the kernel’s way: no other driver may take it meanwhile', async () => {
    const bus = await hostWith();
    const devices = devicesOn(bus);
    await devices.bind(card, signal());
    expect(bus.log).toEqual([
      `devices/${card}/driver_override vfio-pci`,
      `drivers/igb/unbind ${card}`,
      `drivers_probe ${card}`,
    ]);
    bus.log.splice(0);
    await devices.release(card, 'igb', signal());
    expect(bus.log).toEqual([
      `devices/${card}/reset 1`,
      `devices/${card}/driver_override igb`,
      `drivers/vfio-pci/unbind ${card}`,
      `drivers_probe ${card}`,
      `devices/${card}/driver_override `,
    ]);
  });

  it('of several of one group is no matter of the order, when all of them are', async () => {
    const sound = { address: disk, class: '0x040300', driver: 'ahci', group: 7 };
    const bus = await hostWith(sound);
    const devices = devicesOn(bus);
    await expect(devices.bind(card, signal())).rejects.toMatchObject({ code: 'device.group_shared' });
    for (const address of [card, disk]) await devices.bind(address, signal(), [card, disk]);
    expect([bus.driverOf(card), bus.driverOf(disk)]).toEqual(['vfio-pci', 'vfio-pci']);
    await devices.release(card, 'igb', signal());
    await devices.release(disk, 'ahci', signal());
    expect([bus.driverOf(card), bus.driverOf(disk)]).toEqual(['igb', 'ahci']);
  });

  it('is refused where the host’s disk is in the group, and nothing is touched', async () => {
    const bus = await hostWith({ address: disk, class: '0x010601', driver: 'ahci', group: 7 });
    bus.addChild(disk, 'ata1/block/sda', { dev: '8:0\n' });
    writeTable(bus.root, { '/proc/self/mountinfo': '22 1 8:0 / / rw - ext4 /dev/sda rw\n' });
    await expect(devicesOn(bus).bind(card, signal())).rejects.toMatchObject({
      code: 'device.group_shared',
      message: expect.stringContaining('sda is mounted at /'),
    });
    await expect(devicesOn(bus).bind(disk, signal())).rejects.toMatchObject({ code: 'device.in_use' });
    expect(bus.log).toEqual([]);
  });

  it('is refused without vfio-pci, without an IOMMU, and of a bridge', async () => {
    const bus = await fakeBus(['igb']);
    bus.add({ address: card, class: '0x020000', driver: 'igb', group: 7 });
    bus.add({ address: disk, class: '0x010601', driver: 'igb' });
    bus.add({ address: split, class: '0x060400', group: 8 });
    for (const [address, hint] of [
      [card, 'modprobe vfio-pci'],
      [disk, 'intel_iommu=on'],
      [split, 'behind it'],
    ] as const)
      await expect(devicesOn(bus).bind(address, signal())).rejects.toMatchObject({
        code: 'device.unsupported',
        hint: expect.stringContaining(hint),
      });
    expect(bus.log).toEqual([]);
  });

  it('is undone when vfio-pci refuses the device', async () => {
    const bus = await hostWith();
    bus.refusing.add('vfio-pci');
    await expect(devicesOn(bus).bind(card, signal())).rejects.toMatchObject({
      code: 'device.bind_failed',
      cause: { message: 'vfio-pci did not take it' },
    });
    expect([bus.driverOf(card), bus.override(card)]).toEqual(['igb', '(null)']);
  });

  it.each([
    ['driver_override', /driver_override$/],
    ['unbind', /unbind$/],
    ['drivers_probe', /drivers_probe$/],
  ])('is undone when the kernel refuses a write (%s)', async (_, path) => {
    const bus = await hostWith();
    bus.before(path, () => {
      throw errno('EIO');
    });
    await expect(devicesOn(bus).bind(card, signal())).rejects.toMatchObject({
      code: 'device.bind_failed',
      cause: { code: 'EIO' },
    });
    expect([bus.driverOf(card), bus.override(card)]).toEqual(['igb', '(null)']);
    await devicesOn(bus).bind(card, signal());
    expect(bus.driverOf(card)).toBe('vfio-pci');
  });

  it.each([
    ['driver_override', /driver_override$/],
    ['unbind', /unbind$/],
    ['drivers_probe', /drivers_probe$/],
  ])('says that the device went on the way (before %s)', async (_, path) => {
    const bus = await hostWith();
    bus.before(path, () => bus.remove(card));
    await expect(devicesOn(bus).bind(card, signal())).rejects.toMatchObject({
      code: 'device.not_found',
      message: expect.stringContaining(card),
    });
    const back = await hostWith();
    await devicesOn(back).bind(card, signal());
    back.before(path, () => back.remove(card));
    await devicesOn(back).release(card, 'igb', signal());
  });

  it('is undone when it is given up on the way', async () => {
    const bus = await hostWith();
    const giveUp = new AbortController();
    bus.before(/unbind$/, () => giveUp.abort(new Error('enough')));
    await expect(devicesOn(bus).bind(card, giveUp.signal)).rejects.toThrow('enough');
    expect([bus.driverOf(card), bus.override(card)]).toEqual(['igb', '(null)']);
  });

  it('waits behind no write that the kernel does not answer', async () => {
    const bus = await hostWith();
    bus.before(/unbind$/, () => {
      throw errno('ETIMEDOUT');
    });
    await expect(devicesOn(bus).bind(card, signal())).rejects.toMatchObject({
      code: 'device.bind_failed',
      details: { driver: 'igb' },
    });
    expect(bus.log).toEqual([`devices/${card}/driver_override vfio-pci`]);
  });

  it('of a device that hangs in the kernel is refused until that is through, and goes on with others', async () => {
    const bus = await hostWith();
    const devices = devicesOn(bus);
    const answered = Promise.withResolvers<void>();
    bus.before(/unbind$/, () => {
      throw new UnansweredWrite('unbind', 30_000, answered.promise);
    });
    await expect(devices.bind(card, signal())).rejects.toMatchObject({ code: 'device.bind_failed' });
    const stuck = {
      code: 'device.bind_failed',
      message: `PCI device ${card} is stuck: it was to be unbound from igb, and the kernel has not answered since.`,
    };
    const seen = async () => (await devices.inventory(signal())).find(({ address }) => address === card);
    expect((await seen())?.stuck).toBe('unbound from igb');
    bus.log.splice(0);
    await expect(devices.bind(card, signal())).rejects.toMatchObject(stuck);
    await expect(devices.release(card, 'igb', signal())).rejects.toMatchObject(stuck);
    expect(bus.log).toEqual([]);
    await devices.bind(split, signal());
    expect(bus.driverOf(split)).toBe('vfio-pci');
    await devices.release(split, 'igb', signal());
    answered.resolve();
    await answered.promise;
    expect(await seen()).not.toHaveProperty('stuck');
    await devices.release(card, 'igb', signal());
    expect([bus.driverOf(card), bus.override(card)]).toEqual(['igb', '(null)']);
  });

  it('reads nothing of any device that is behind the lock of one that hangs', async () => {
    const bus = await hostWith();
    const read: string[] = [];
    const noting = Object.entries(bus.files).map(([name, look]) => [
      name,
      (path: string, ...rest: never[]) => {
        read.push(path);
        return (look as (path: string, ...rest: never[]) => unknown)(path, ...rest);
      },
    ]);
    const files = Object.fromEntries(noting) as typeof bus.files;
    const devices = createHostDevices({ ...bus, files, addresses: () => ({}), claims });
    await devices.createVfs(split, 2, signal());
    await devices.bind(card, signal());
    await devices.release(card, 'igb', signal());
    // Of somebody else's driver by now.
    await devices.release(card, 'igb', signal());
    await devices.removeVfs(split, signal());
    expect(read.length).toBeGreaterThan(20);
    expect(read.filter((path) => /\/(driver_override|sriov_numvfs)$/.test(path))).toEqual([]);
  });

  it('takes one that somebody else has unbound at the same moment', async () => {
    const bus = await hostWith();
    bus.before(/unbind$/, () => {
      void bus.writes.write('/sys/bus/pci/drivers/igb/unbind', card, signal());
    });
    await devicesOn(bus).bind(card, signal());
    expect(bus.driverOf(card)).toBe('vfio-pci');
  });

  it('needs the right to', async () => {
    const bus = await hostWith();
    bus.before(/driver_override$/, () => {
      throw errno('EACCES');
    });
    await expect(devicesOn(bus).bind(card, signal())).rejects.toMatchObject({
      code: 'host.permission_denied',
    });
  });
});

describe('taking a device back', () => {
  it('keeps one that cannot be reset away from the host’s drivers', async () => {
    const bus = await hostWith();
    const devices = devicesOn(bus);
    await devices.bind(card, signal());
    bus.before(/reset$/, () => {
      throw errno('ENOTTY');
    });
    await expect(devices.release(card, 'igb', signal())).rejects.toMatchObject({
      code: 'device.bind_failed',
      message: `PCI device ${card} could not be reset.`,
      details: { driver: 'vfio-pci' },
    });
    await devices.release(card, 'igb', signal());
    expect(bus.driverOf(card)).toBe('igb');
  });

  it('says when the former driver does not take it, and leaves it open to all', async () => {
    const bus = await hostWith();
    const devices = devicesOn(bus);
    await devices.bind(card, signal());
    bus.refusing.add('igb');
    await expect(devices.release(card, 'igb', signal())).rejects.toMatchObject({
      code: 'device.bind_failed',
      hint: expect.stringContaining('modprobe igb'),
      details: { driver: null },
    });
    expect(bus.override(card)).toBe('(null)');
    bus.refusing.clear();
    await devices.release(card, 'igb', signal());
    expect(bus.driverOf(card)).toBe('igb');
  });

  it('finishes what a daemon that died had begun, at whichever step', async () => {
    for (const steps of [1, 2, 3, 4]) {
      const bus = await hostWith();
      await devicesOn(bus).bind(card, signal());
      let left = steps;
      const dying = {
        ...bus,
        writes: {
          async write(...args: Parameters<typeof bus.writes.write>) {
            // From here on nothing happens any more.
            if (left-- <= 0) throw errno('ETIMEDOUT');
            await bus.writes.write(...args);
          },
        },
      };
      await expect(devicesOn(dying).release(card, 'igb', signal())).rejects.toMatchObject({
        code: 'device.bind_failed',
      });
      await devicesOn(bus).release(card, 'igb', signal());
      expect([steps, bus.driverOf(card), bus.override(card)]).toEqual([steps, 'igb', '(null)']);
    }
  });

  it('leaves one that somebody else has bound', async () => {
    const bus = await hostWith({ address: '0000:06:00.0', class: '0x010601', driver: 'ahci', group: 3 });
    await devicesOn(bus).release('0000:06:00.0', 'igb', signal());
    expect(bus.driverOf('0000:06:00.0')).toBe('ahci');
  });

  it('leaves one with vfio-pci that was there before', async () => {
    const bus = await hostWith({
      address: '0000:06:00.0',
      class: '0x020000',
      driver: 'vfio-pci',
      group: 3,
      reset: 'flr',
    });
    const devices = devicesOn(bus);
    await devices.bind('0000:06:00.0', signal());
    await devices.release('0000:06:00.0', 'vfio-pci', signal());
    expect(bus.driverOf('0000:06:00.0')).toBe('vfio-pci');
    expect(bus.log).toEqual(['devices/0000:06:00.0/reset 1']);
  });
});

describe('virtual functions', () => {
  it('are made with no driver that takes them, and then it is as it was', async () => {
    const bus = await hostWith();
    const devices = devicesOn(bus);
    await devices.createVfs(split, 2, signal());
    await devices.createVfs(split, 4, signal());
    await devices.removeVfs(split, signal());
    const path = `devices/${split}`;
    expect(bus.log).toEqual([
      `${path}/sriov_drivers_autoprobe 0`,
      `${path}/sriov_numvfs 2`,
      `${path}/sriov_numvfs 0`,
      `${path}/sriov_drivers_autoprobe 1`,
      `${path}/sriov_drivers_autoprobe 0`,
      `${path}/sriov_numvfs 4`,
      `${path}/sriov_numvfs 0`,
      `${path}/sriov_drivers_autoprobe 1`,
    ]);
  });

  it('of which the device makes fewer than asked are none', async () => {
    const bus = await hostWith();
    bus.vfsAtMost = 3;
    await expect(devicesOn(bus).createVfs(split, 5, signal())).rejects.toMatchObject({
      code: 'device.bind_failed',
      cause: { message: 'the device has 3 of them' },
    });
    expect((await devicesOn(bus).inventory(signal())).map(({ address }) => address)).toEqual([card, split]);
    expect(bus.log.at(-1)).toBe(`devices/${split}/sriov_drivers_autoprobe 1`);
  });

  it('need the device’s own driver', async () => {
    const bus = await hostWith({ address: '0000:06:00.0', class: '0x020000', group: 3, totalVfs: 4 });
    await expect(devicesOn(bus).createVfs('0000:06:00.0', 2, signal())).rejects.toMatchObject({
      code: 'device.unsupported',
      hint: expect.stringContaining('its driver'),
    });
  });

  it('are gone with a device that goes while they are made', async () => {
    const bus = await hostWith();
    bus.before(/sriov_numvfs$/, () => bus.remove(split));
    await expect(devicesOn(bus).createVfs(split, 2, signal())).rejects.toMatchObject({
      code: 'device.not_found',
    });
  });

  it('that the host works with stay', async () => {
    const bus = await hostWith();
    const [vf = ''] = await devicesOn(bus).createVfs(split, 2, signal());
    bus.addChild(vf, 'net/eth9');
    const devices = createHostDevices({ ...bus, claims, addresses: () => ({ eth9: ['192.0.2.9'] }) });
    await expect(devices.removeVfs(split, signal())).rejects.toMatchObject({
      code: 'device.in_use',
      message: expect.stringContaining('eth9 has the address 192.0.2.9'),
      details: { functions: [vf] },
    });
  });
});
