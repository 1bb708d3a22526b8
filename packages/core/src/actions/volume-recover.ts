/**
 * Brings volumes and what is on their storage together after a restart of the daemon: interrupted freezings are ended, and what has no
 * record any more is removed. Runs when guests are adopted, and before any work on disks begins.
 */
import type { Operation } from '@wirt/api';
import { apart } from './instance-recover.ts';
import type { LiveGuests } from './live-guests.ts';
import type { Shared } from './parts.ts';
import { commit } from './records.ts';
import { forgetSnapshot } from './snapshot-work.ts';
import { settleNext } from './volume-freeze.ts';
import { holderOf, settleChain } from './volume-merge.ts';
import { laneOf } from './works.ts';

export async function recoverVolumes(
  shared: Shared,
  live: LiveGuests,
  open: readonly Operation[],
): Promise<void> {
  const { store, late, volumes, snapshots, layers, lanes, seeds, firmware, logger } = shared;
  const busy = new Set(open.map(({ target }) => target.id));
  // In its lane: a guest may have ended just now, and its disks be given back.
  for (const { id } of [...volumes.after()])
    await apart(shared, id, () =>
      lanes.run(laneOf(shared, { kind: 'volume', id }), () => recoverOne(shared, live, id)),
    );
  for (const { id, status } of [...snapshots.after()])
    if (status.state === 'creating' && !busy.has(id))
      await apart(shared, id, () =>
        forgetSnapshot(shared, id, (changes) =>
          late.begin(
            () => commit(store, changes),
            (error) => logger.error('snapshot.not_forgotten', { snapshot: id, error }),
          ),
        ),
      );
  await apart(shared, 'layers', () => layers.sweep());
  await apart(shared, 'seeds', () => removeOrphans(shared, seeds));
  await apart(shared, 'firmware', () => removeOrphans(shared, firmware));
}

async function recoverOne(shared: Shared, live: LiveGuests, id: string): Promise<void> {
  const { store, volumes, instances, layers } = shared;
  const { attachment } = volumes.require(id).status;
  if (attachment !== undefined && instances.get(attachment.instance) === undefined) {
    const { attachment: _, ...status } = volumes.require(id).status;
    await commit(store, [volumes.put({ ...volumes.require(id), status })]);
  }
  const holder = holderOf(live, volumes.require(id));
  // A guest that does not answer now is asked again before its disks are touched.
  if (holder?.guest.state.responsive !== false) await settleNext(shared, id, holder);
  if (volumes.require(id).status.layers.length === 1) return;
  if (holder?.guest.state.responsive) await settleChain(shared, id, holder);
  await layers.prune(id);
}

async function removeOrphans(
  { instances }: Shared,
  files: { list(): Promise<string[]>; remove(id: string): Promise<void> },
): Promise<void> {
  for (const id of await files.list()) if (instances.get(id) === undefined) await files.remove(id);
}
