// The host's PCI devices on a real host: all are listed, and what the host works with is refused with the reason, and stays as it
// was. Handing devices over needs an IOMMU and devices that may be taken: the lab has them.
import { existsSync, readdirSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { type HostDevice, WirtError } from '@wirt/api';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startDaemon, type TestDaemon } from './harness/daemon.ts';
import { wirt } from './harness/wirt.ts';

const bus = '/sys/bus/pci/devices';
const onBus = existsSync(bus) ? readdirSync(bus) : [];

/** Driver and override of every device, as the kernel has them. */
function bindings(): Record<string, string> {
  return Object.fromEntries(
    onBus.map((address) => {
      const link = `${bus}/${address}/driver`;
      return [address, existsSync(link) ? basename(readlinkSync(link)) : 'none'];
    }),
  );
}

// Without a PCI bus there is nothing to look at.
describe.skipIf(onBus.length === 0)('PCI devices of the host', () => {
  let daemon: TestDaemon;
  let devices: readonly HostDevice[] = [];
  const drivers = bindings();

  beforeAll(async () => {
    daemon = await startDaemon();
    devices = (await daemon.client.call('GET /v1/host/devices', { query: { limit: 1000 } })).items;
  });
  afterAll(() => daemon[Symbol.asyncDispose]());

  it('are listed, each with its driver', () => {
    expect(devices.map(({ address }) => address)).toEqual(onBus.toSorted());
    for (const { address, driver } of devices) expect(driver ?? 'none').toBe(drivers[address]);
  });

  it('are shown by address, with the reason why a guest cannot have one', async () => {
    for (const { address, usable, why } of devices) {
      const params = { device: address };
      const one = await daemon.client.call('GET /v1/host/devices/{device}', { params });
      expect([one.usable, one.why]).toEqual([usable, why]);
      if (!usable) expect(why).toContain(address);
    }
    const { stdout } = await wirt(daemon.socket, ['host', 'device', 'ls', '-o', 'name']);
    expect(stdout.trim().split('\n')).toEqual(devices.map(({ address }) => address));
    await expect(
      daemon.client.call('GET /v1/host/devices/{device}', { params: { device: 'ffff:ff:1f.7' } }),
    ).rejects.toMatchObject({ code: 'device.not_found' });
  });

  it('that no guest may have are refused at the start, which changes nothing', async () => {
    // The host's own first: its disk, its network.
    const refused = devices
      .filter(({ usable }) => !usable)
      .toSorted((a, b) => b.inUse.length - a.inUse.length)
      .slice(0, 3);
    for (const { address, why = '' } of refused) {
      const name = `wants-${address.replaceAll(/[:.]/g, '-')}`;
      const failure = await daemon
        .create(name, { start: true, spec: { devices: [{ name: 'it', address }] } })
        .then(
          (operation) => operation.error?.detail,
          (error: unknown) => (error instanceof WirtError ? error.message : error),
        );
      expect(failure).toBe(why);
      const { status } = await daemon.client.call('GET /v1/instances/{instance}', {
        params: { instance: name },
      });
      expect([status.state, status.devices, status.process]).toEqual(['crashed', undefined, undefined]);
    }
    expect(bindings()).toEqual(drivers);
    expect(await daemon.remains()).toEqual([]);
  });

  it('are not split where they cannot be, and no pool is made of them', async () => {
    const plain = devices.find(({ sriov }) => sriov.totalVfs === 0);
    if (plain === undefined) return;
    const params = { device: plain.address };
    await expect(
      daemon.client.call('PUT /v1/host/devices/{device}/vfs', { params, body: { count: 2, pool: 'fast' } }),
    ).rejects.toMatchObject({ code: 'device.unsupported' });
    await expect(
      daemon.create('web', { spec: { devices: [{ name: 'vf0', pool: 'fast' }] } }),
    ).rejects.toMatchObject({ code: 'pool.not_found' });
    expect(bindings()).toEqual(drivers);
  });

  it('are named by wirt set for the next start of a guest that runs, which goes on', async () => {
    const address = onBus[0] ?? '';
    await daemon.create('later', { start: true, spec: { accelerator: 'tcg' } });
    const params = { instance: 'later' };
    const pid = async () =>
      (await daemon.client.call('GET /v1/instances/{instance}', { params })).status.process?.pid;
    const before = await pid();
    expect(before).toBeGreaterThan(0);
    const named = await wirt(daemon.socket, ['set', 'later', `device.it=${address}`]);
    expect(named.stdout).toMatch(new RegExp(`device\\.it +${address} +- +at its next start`));
    expect((await wirt(daemon.socket, ['show', 'later'])).stdout).toContain(
      `it: ${address}, from its next start`,
    );
    await expect(
      daemon.client.call('PATCH /v1/instances/{instance}', {
        params,
        body: { spec: { devices: [{ name: 'it', address: 'ffff:ff:1f.7' }] } },
      }),
    ).rejects.toMatchObject({ code: 'device.not_found' });
    const taken = await wirt(daemon.socket, ['set', 'later', 'device.it=']);
    expect(taken.stdout).toMatch(/device\.it +\(taken out\) +- +now/);
    expect(await pid()).toBe(before);
    expect(bindings()).toEqual(drivers);
    await daemon.client.call('DELETE /v1/instances/{instance}', {
      params,
      query: { force: 'true', wait: 'done' },
    });
  });

  it('are none for guests that could never have any', async () => {
    const device = { name: 'it', address: onBus[0] ?? '' };
    for (const spec of [{ overcommit: true }, { machine: 'microvm' }] as const)
      await expect(daemon.create('never', { spec: { ...spec, devices: [device] } })).rejects.toMatchObject({
        code: 'request.invalid',
      });
  });
});
