// A disk of a running guest that grows. On a bus where QEMU or the guest cannot, that is said before anything is changed.
// Source: QEMU hw/nvme/ns.c (the device lets nobody resize its node); Linux drivers/ata/libata-core.c, ata_dev_revalidate.
import { WirtError } from '@wirt/api';
import type { PlannedDisk } from '@wirt/core';
import { type DiskContext, driveOf, refused } from './disk-context.ts';
import { deviceOf } from './disk-names.ts';

/**
 * By their QOM types. QEMU refuses to resize under nvme. Under sata it does so, but no rescan shows it, and a Linux guest takes a disk
 * that has another size after its link was reset for another disk, and detaches it.
 */
const fixedSize: ReadonlyMap<string, PlannedDisk['bus']> = new Map([
  ['nvme', 'nvme'],
  ['ide-hd', 'sata'],
]);

export async function growDisk(
  { id, ask }: Pick<DiskContext, 'id' | 'ask'>,
  name: string,
  sizeBytes: number,
  signal: AbortSignal,
): Promise<void> {
  const { top } = await driveOf({ id, ask }, name, signal);
  const what = `Disk ${name} of instance ${id} could not be grown.`;
  const path = `/machine/peripheral/${deviceOf(name)}`;
  const type = String(await ask('qom-get', { path, property: 'type' }, signal));
  const bus = fixedSize.get(type);
  if (bus !== undefined) {
    const hint = `Stop the instance first: \`wirt stop ${id}\`.`;
    const cause = new Error(`A disk on the bus ${bus} keeps its size while the guest runs.`);
    throw new WirtError('instance.state_conflict', what, { cause, hint });
  }
  try {
    // By the uppermost node: what lies above a node that grows keeps its size.
    await ask('block_resize', { 'node-name': top.throttle?.node ?? top.node, size: sizeBytes }, signal);
  } catch (error) {
    throw refused(error, 'volume.failed', what);
  }
}
