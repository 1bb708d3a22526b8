/**
 * Brings volumes and what is on their storage together after a restart of the daemon: interrupted freezings are ended, what a running
 * guest has open is whole, works are taken up again, and files without a record are removed. Runs when guests are adopted.
 */
import type { Operation } from '@wirt/api';
import type { InstanceLife } from './instance-life.ts';
import type { Shared } from './parts.ts';
import { commit } from './records.ts';
import { settleNext } from './volume-freeze.ts';
import { markReady } from './volume-make.ts';
import { holderOf } from './volume-merge.ts';
import { laneOf, type WorkTable } from './works.ts';

export async function recoverVolumes(
  shared: Shared,
  life: InstanceLife,
  works: Partial<WorkTable>,
  open: readonly Operation[],
): Promise<void> {
  const { volumes, snapshots, instances, logger, layers, operations, store } = shared;
  const busy = new Set(open.map(({ target }) => target.id));
  for (const { id, status } of [...volumes.after()]) {
    const holder = holderOf(life.live, volumes.require(id));
    try {
      if (holder !== undefined) await markReady(shared, volumes.require(id));
      // A guest that does not answer now is asked again before its disks are touched.
      if (status.next !== undefined && holder?.guest.state.responsive !== false)
        await settleNext(shared, id, holder);
      if (status.attachment !== undefined && instances.get(status.attachment.instance) === undefined) {
        const { attachment: _, ...rest } = volumes.require(id).status;
        await commit(store, [volumes.put({ ...volumes.require(id), status: rest })]);
      }
    } catch (error) {
      logger.error('volume.recovery_failed', { volume: id, error });
    }
  }
  for (const snapshot of [...snapshots.after()]) {
    if (snapshot.status.state === 'creating' && !busy.has(snapshot.id))
      await commit(store, [snapshots.remove(snapshot)]);
  }
  await layers.sweep();
  for (const id of await shared.seeds.list())
    if (instances.get(id) === undefined) await shared.seeds.remove(id);
  for (const id of await shared.firmware.list())
    if (instances.get(id) === undefined) await shared.firmware.remove(id);
  for (const operation of open) {
    const { kind, target } = operation;
    const work = works[kind];
    if (work === undefined) continue;
    logger.info('operation.taken_up', { operation: operation.id, kind, target: target.id });
    operations.resume(operation, work(target.id), laneOfResumed(shared, operation));
  }
}

/** As when it was started: what reads only frozen layers holds no guest up. */
function laneOfResumed(shared: Shared, { kind, target }: Operation): string {
  return kind === 'snapshot.export' ? target.id : laneOf(shared, target);
}
