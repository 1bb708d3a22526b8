// Plugging a disk into a running guest: its nodes from the base on, its iothread, then the device.
import { WirtError } from '@wirt/api';
import { type DiskSource, iothreadsPerDisk, type PlannedDisk } from '@wirt/core';
import { type Ask, isRefusal, machineOf, noAbort } from './control.ts';
import { type Drive, dropUnused, freeNumber, readBlockState } from './disk-chain.ts';
import { addNodes, type DiskContext, refused } from './disk-context.ts';
import { diskDevice, iothreadCount, isHotPluggable } from './disk-devices.ts';
import { iothreadsOf } from './disk-names.ts';
import { isThrottled } from './disk-nodes.ts';
import { untilUnlocked } from './locked.ts';
import { hasThrottleGroup } from './throttle.ts';

export async function attachDisk(
  context: DiskContext,
  disk: PlannedDisk,
  signal: AbortSignal,
): Promise<void> {
  const { id, ask } = context;
  const { drives } = await readBlockState(ask, signal);
  const plugged = drives.get(disk.name);
  // The work of a daemon that died after it.
  if (plugged !== undefined && isSame(plugged, disk.source)) return;
  const what = `Disk ${disk.name} could not be plugged into instance ${id}.`;
  if (plugged !== undefined) {
    const cause = new Error('There is a disk of this name with other layers.');
    throw new WirtError('instance.state_conflict', what, { cause });
  }
  const machine = await machineOf(ask, signal);
  if (machine === 'microvm' || !isHotPluggable(disk.bus)) {
    const where = machine === 'microvm' ? 'A microvm' : `The bus ${disk.bus}`;
    const hint = `Stop the instance first: \`wirt stop ${id}\`.`;
    const cause = new Error(`${where} takes no disk while the guest runs.`);
    throw new WirtError('instance.state_conflict', what, { cause, hint });
  }
  const cpus = (await ask('query-cpus-fast', {}, signal)).length;
  const diskIothreads = await iothreadsFor(ask, cpus, signal);
  // Of a q35, whatever its accelerator.
  const threads = iothreadCount(disk, { machine, accelerator: 'kvm', diskIothreads });
  const iothreads = iothreadsOf(disk.name, threads);
  const throttled = isThrottled(disk) && (await hasThrottleGroup(ask, signal));
  await dropUnused(ask);
  const number = await freeNumber(ask, signal);
  const plug = async (): Promise<void> => {
    try {
      await addNodes(context, disk.source, { number, readOnly: disk.readOnly, throttled }, signal);
      await addIothreads(ask, iothreads, signal);
      // QEMU may do it all the same when nobody waits for it any more.
      const device = diskDevice(disk, { machine, cpus, number, throttled, unit: 0, iothreads });
      await ask('device_add', device, noAbort);
    } catch (error) {
      await dropUnused(ask).catch(() => {});
      throw refused(error, 'instance.state_conflict', what, portHint(error, id));
    }
  };
  await untilUnlocked(plug, signal);
}

function isSame({ layers }: Drive, source: DiskSource | undefined): boolean {
  const wanted = source?.layers ?? [];
  return layers.length === wanted.length && layers.every((layer, index) => layer === wanted[index]?.layer);
}

/** The QEMU that runs is asked: the one on the disk may be another by now. */
async function iothreadsFor(ask: Ask, cpus: number, signal: AbortSignal): Promise<number> {
  const properties = await ask('device-list-properties', { typename: 'virtio-blk-pci' }, signal);
  const mapsQueues = properties.some(({ name }) => name === 'iothread-vq-mapping');
  const { major, minor, micro } = (await ask('query-version', {}, signal)).qemu;
  return iothreadsPerDisk(cpus, { version: `${major}.${minor}.${micro}`, mapsQueues });
}

/** One that QEMU had not let go of yet is taken again. */
async function addIothreads(ask: Ask, ids: readonly string[], signal: AbortSignal): Promise<void> {
  const there = new Set((await ask('query-iothreads', {}, signal)).map(({ id }) => id));
  for (const id of ids) if (!there.has(id)) await ask('object-add', { 'qom-type': 'iothread', id }, noAbort);
}

function portHint(error: unknown, id: string): string | undefined {
  return isRefusal(error) && /^Bus 'port\d+' not found/.test(error.desc)
    ? `All ports of the running guest are taken; it gets new ones at its next start: \`wirt stop ${id}\`, \`wirt start ${id}\`.`
    : undefined;
}
