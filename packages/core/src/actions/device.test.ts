// The host's devices as people see them, and virtual functions in pools that survive boots and daemons.
import { describe, expect, it } from 'vitest';
import type { PciDevice } from '../domain/devices/pci-device.ts';
import { createFakeCore, type FakeCore, waitDone } from '../fakes/fake-core.ts';
import { aDevice } from '../fakes/fake-devices.ts';

const [disk, nic, other] = ['0000:02:00.0', '0000:03:00.0', '0000:04:00.0'];
const splittable = (address: string) =>
  aDevice(address, { driver: 'igb', sriov: { totalVfs: 4, numVfs: 0, isVf: false, vfs: [] } });

async function hostWith(...devices: readonly PciDevice[]): Promise<FakeCore> {
  const fake = await createFakeCore();
  for (const device of devices) fake.host.devices.table.set(device.address, device);
  return fake;
}

const actionsOf = (fake: FakeCore) => fake.core.actions.device;
const split = (fake: FakeCore, address: string, count: number, pool = 'fast') =>
  actionsOf(fake).createVfs(fake.request, address, { count, pool });
const unsplit = (fake: FakeCore, address: string) => actionsOf(fake).removeVfs(fake.request, address);
const show = (fake: FakeCore, address: string) => actionsOf(fake).get(fake.request, address);
const runOn = (fake: FakeCore, pool: string) =>
  fake.create({ name: 'web', start: true, spec: { devices: [{ name: 'vf0', pool }] } });

describe('the list of devices', () => {
  it('goes by address, in pages, and says of each whether a guest could have it', async () => {
    const inUse = [{ kind: 'root', name: 'sda2', reason: 'is mounted at /' }] as const;
    const fake = await hostWith(
      splittable(nic),
      aDevice(disk, { classCode: 0x010601, driver: 'ahci', inUse }),
      aDevice(other, { driver: 'igb' }),
    );
    const first = await actionsOf(fake).list(fake.request, { limit: 2 });
    expect(first).toMatchObject({
      items: [
        { address: disk, usable: false, why: expect.stringContaining('sda2 is mounted at /'), leasedTo: [] },
        { address: nic, usable: true },
      ],
      next: nic,
    });
    const rest = await actionsOf(fake).list(fake.request, { limit: 2, cursor: nic });
    expect(rest.items.map(({ address }) => address)).toEqual([other]);
    expect(rest).not.toHaveProperty('next');
    const disks = await actionsOf(fake).list(fake.request, { limit: 9, kind: 'storage' });
    expect(disks.items).toHaveLength(1);
    await expect(show(fake, '0000:0f:00.0')).rejects.toMatchObject({ code: 'device.not_found' });
  });
});

describe('virtual functions', () => {
  it('of several devices are one pool, which goes with the last of them', async () => {
    const fake = await hostWith(splittable(nic), splittable(other));
    expect(await split(fake, nic, 2)).toMatchObject({
      sriov: { numVfs: 2 },
      pool: { name: 'fast', count: 2 },
      usable: false,
    });
    await split(fake, other, 1);
    const inPool = await actionsOf(fake).list(fake.request, { limit: 9, pool: 'fast' });
    expect(inPool.items).toHaveLength(3);
    expect(inPool.items[0]).toMatchObject({ sriov: { physicalFunction: nic }, pool: { name: 'fast' } });
    await unsplit(fake, nic);
    expect(await show(fake, nic)).not.toHaveProperty('pool');
    await unsplit(fake, other);
    await expect(runOn(fake, 'fast')).rejects.toMatchObject({ code: 'pool.not_found' });
    await unsplit(fake, other);
    await expect(unsplit(fake, disk)).rejects.toMatchObject({ code: 'device.not_found' });
  });

  it('move to another pool without being made again', async () => {
    const fake = await hostWith(splittable(nic));
    await split(fake, nic, 2);
    await runOn(fake, 'fast');
    expect(await split(fake, nic, 2, 'slow')).toMatchObject({ pool: { name: 'slow' } });
    await expect(fake.create({ spec: { devices: [{ name: 'x', pool: 'fast' }] } })).rejects.toMatchObject({
      code: 'pool.not_found',
    });
  });

  it('stay while a guest has one, and it is said who', async () => {
    const fake = await hostWith(splittable(nic));
    await split(fake, nic, 2);
    await runOn(fake, 'fast');
    const refusal = { code: 'device.in_use', message: expect.stringContaining('lent to instance web') };
    await expect(unsplit(fake, nic)).rejects.toMatchObject(refusal);
    await expect(split(fake, nic, 4)).rejects.toMatchObject(refusal);
    expect((await show(fake, nic)).pool).toEqual({ name: 'fast', count: 2 });
    await fake.core.actions.instance.stop(fake.request, 'web', { mode: 'force', graceSeconds: 0 }, waitDone);
    await unsplit(fake, nic);
  });

  it('that cannot be made change no record', async () => {
    const fake = await hostWith(splittable(nic));
    await expect(split(fake, nic, 9)).rejects.toMatchObject({ code: 'device.unsupported' });
    expect(await show(fake, nic)).not.toHaveProperty('pool');
    await split(fake, nic, 2);
    await expect(split(fake, nic, 9, 'slow')).rejects.toMatchObject({ code: 'device.unsupported' });
    expect((await show(fake, nic)).pool).toEqual({ name: 'fast', count: 2 });
    await expect(split(fake, disk, 1)).rejects.toMatchObject({ code: 'device.not_found' });
  });

  it('are made again after a boot, and a device that cannot says so', async () => {
    const fake = await hostWith(splittable(nic), splittable(other));
    await split(fake, nic, 2);
    await split(fake, other, 2);
    fake.host.devices.boot();
    fake.host.devices.table.delete(other);
    await fake.restart();
    expect(await show(fake, nic)).toMatchObject({ sriov: { numVfs: 2 }, pool: { count: 2 } });
    // Its card comes back later.
    fake.host.devices.table.set(other, splittable(other));
    expect((await show(fake, other)).pool?.problem).toContain('has 0 of 2 virtual functions');
    await fake.restart();
    expect((await show(fake, other)).pool).toEqual({ name: 'fast', count: 2 });
  });

  it('of a device that is gone for good can be forgotten', async () => {
    const fake = await hostWith(splittable(nic));
    await split(fake, nic, 2);
    fake.host.devices.table.clear();
    await unsplit(fake, nic);
    await expect(unsplit(fake, nic)).rejects.toMatchObject({ code: 'device.not_found' });
  });

  it.each([
    ['device.create-vfs/record', 0],
    ['device.create-vfs/make', 2],
  ])('whose daemon dies at %s are what the record says', async (step, made) => {
    const fake = await hostWith(splittable(nic));
    fake.fault = { step, kind: 'die' };
    void split(fake, nic, 2).catch(() => undefined);
    await fake.died();
    await fake.restart();
    expect((await show(fake, nic)).sriov.numVfs).toBe(made);
  });

  it('whose removal was cut short are made again, and can be removed', async () => {
    const fake = await hostWith(splittable(nic));
    await split(fake, nic, 2);
    fake.fault = { step: 'device.remove-vfs/record', kind: 'die' };
    void unsplit(fake, nic).catch(() => undefined);
    await fake.died();
    await fake.restart();
    expect((await show(fake, nic)).sriov.numVfs).toBe(2);
    await unsplit(fake, nic);
    expect((await show(fake, nic)).sriov.numVfs).toBe(0);
  });
});
