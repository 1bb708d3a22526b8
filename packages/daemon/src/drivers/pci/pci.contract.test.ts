// The devices of this machine, which are only looked at. Handing real ones over is for the lab, where a guest has an emulated
// IOMMU and devices with virtual functions.
import { existsSync, readdirSync } from 'node:fs';
import { hostInventoryContract } from '@wirt/core/contract/host-devices';
import { describe, expect, it } from 'vitest';
import { createHostFiles } from '../../platform/host-files.ts';
import { createHostDevices } from './pci.ts';

const files = createHostFiles();
const signal = (): AbortSignal => AbortSignal.timeout(30_000);
const groups = '/sys/kernel/iommu_groups';
const hasIommu = existsSync(groups) && readdirSync(groups).length > 0;

/** Nothing is written, whatever goes wrong in a test. */
const devices = createHostDevices({
  files,
  writes: { write: () => Promise.reject(new Error('this machine is only looked at')) },
});

// Needs a PCI bus.
describe.skipIf(!existsSync('/sys/bus/pci/devices'))('on this machine', () => {
  hostInventoryContract('sysfs', async () => ({
    devices,
    exists: (address) => files.exists(`/sys/bus/pci/devices/${address}`),
  }));

  it('the disk with the root, and the card with the default route, are in use', async () => {
    const inventory = await devices.inventory(signal());
    const uses = inventory.flatMap(({ inUse }) => inUse);
    const rootIsOnPci = (await files.text('/proc/self/mountinfo'))?.match(
      / \/ \/ .* - \S+ \/dev\/(\w+)/,
    )?.[1];
    if (rootIsOnPci !== undefined && (await files.exists(`/sys/class/block/${rootIsOnPci}/device`)))
      expect(uses).toContainEqual({ kind: 'root', name: rootIsOnPci, reason: 'is mounted at /' });
    const [card] = /^(\w+)\t0{8}\t/m.exec((await files.text('/proc/net/route')) ?? '')?.slice(1) ?? [];
    if (card !== undefined && (await files.exists(`/sys/class/net/${card}/device`)))
      expect(uses).toContainEqual({
        kind: 'network',
        name: card,
        reason: expect.stringContaining('has a default route'),
      });
  });

  // Where an IOMMU is on, the refusal is another one.
  it.skipIf(hasIommu)(
    'a device is not handed over: nothing would keep a guest from the host’s memory',
    async () => {
      const free = (await devices.inventory(signal())).find(
        ({ kind, inUse }) => kind !== 'bridge' && inUse.length === 0,
      );
      if (free === undefined) return;
      await expect(devices.bind(free.address, signal())).rejects.toMatchObject({
        code: 'device.unsupported',
        hint: expect.stringContaining('IOMMU'),
      });
    },
  );
});
