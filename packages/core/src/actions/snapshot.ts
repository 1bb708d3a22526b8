/** Snapshots of instances: listing, taking, restoring, removing, exporting. The works are in snapshot-work. */
import { type Instance, type Operation, type Snapshot, type SnapshotCreate, WirtError } from '@wirt/api';
import { pageOf } from '../domain/page.ts';
import type { Request, SnapshotActions } from './actions.ts';
import { confined } from './confined.ts';
import { requireCan } from './instance-state.ts';
import type { Work } from './operation-runner.ts';
import type { Shared } from './parts.ts';
import { nameConflict, nameTaken } from './records.ts';
import { removeSnapshot, restoreSnapshot, type SnapshotParts, takeSnapshot } from './snapshot-work.ts';
import type { Answering } from './waiting.ts';
import { begin, type WorkTable } from './works.ts';

export type SnapshotKind = Extract<Operation['kind'], `snapshot.${string}`>;

export function snapshotWorks(parts: SnapshotParts): WorkTable<SnapshotKind> {
  return {
    'snapshot.create': (id) => takeSnapshot(parts, id),
    'snapshot.restore': (id) => restoreSnapshot(parts, id),
    'snapshot.remove': (id) => removeSnapshot(parts, id),
    'snapshot.export': (id) => exportSnapshot(parts, id),
  };
}

export function createSnapshotActions(
  shared: Shared,
  works: WorkTable<SnapshotKind>,
  answering: Answering,
): SnapshotActions {
  const { snapshots, instances } = shared;

  const snapshotOf = (instance: Instance, ref: string): Snapshot => {
    const found = snapshots.find(ref, instance.id);
    if (found?.spec.instance === instance.id) return found;
    throw new WirtError(
      'snapshot.not_found',
      `Instance ${instance.name} has no snapshot ${JSON.stringify(ref)}.`,
      {
        hint: `See \`wirt snapshot ls ${instance.name}\`.`,
      },
    );
  };

  const onSnapshot = (
    kind: Exclude<SnapshotKind, 'snapshot.create'>,
    request: Request,
    ref: string,
    name: string,
    input: Operation['input'],
  ): Promise<Operation> => {
    const instance = instances.require(ref);
    if (kind === 'snapshot.restore' && !shared.lanes.busy(instance.id)) requireCan('restore', instance);
    const snapshot = snapshotOf(instance, name);
    requireReady(snapshot, kind);
    const { id } = snapshot;
    const target = { kind: 'snapshot', id, name: snapshot.name } as const;
    const cancellable = kind !== 'snapshot.restore';
    return begin(shared, request, { kind, target, input, cancellable, work: works[kind](id) });
  };

  return {
    list: async (ref, { cursor, limit }) => {
      const instance = instances.require(ref);
      return pageOf(snapshots.after(cursor), limit, ({ spec }) => spec.instance === instance.id);
    },
    get: async (ref, name) => snapshotOf(instances.require(ref), name),
    create: (request, ref, input, wait) =>
      answering(request, wait, async () => {
        const instance = instances.require(ref);
        if (!shared.lanes.busy(instance.id)) requireCan('snapshot', instance);
        const snapshot = newSnapshot(shared, instance, input);
        if (snapshots.find(snapshot.name, instance.id) !== undefined)
          throw nameTaken('snapshot', snapshot.name);
        const { id, name } = snapshot;
        const started = begin(shared, request, {
          kind: 'snapshot.create',
          target: { kind: 'snapshot', id, name },
          input: { freeze: input.freeze },
          staged: [snapshots.put(snapshot)],
          lane: instance.id,
          work: works['snapshot.create'](id),
        });
        return started.catch((error: unknown) => {
          throw nameConflict(error, 'snapshot');
        });
      }),
    restore: (request, ref, name, wait) =>
      answering(request, wait, () => onSnapshot('snapshot.restore', request, ref, name, {})),
    remove: (request, ref, name, wait) =>
      answering(request, wait, () => onSnapshot('snapshot.remove', request, ref, name, {})),
    export: (request, ref, name, input, wait) =>
      answering(request, wait, () => onSnapshot('snapshot.export', request, ref, name, { ...input })),
  };
}

/** One whose removal was interrupted can be removed again. */
function requireReady({ name, status }: Snapshot, kind: SnapshotKind): void {
  if (status.state === 'ready' || (kind === 'snapshot.remove' && status.state === 'removing')) return;
  throw new WirtError('snapshot.failed', `Snapshot ${name} is ${status.state}.`, {
    hint: 'Wait for the operation on it: `wirt operation ls`.',
  });
}

function newSnapshot(shared: Shared, instance: Instance, input: SnapshotCreate): Snapshot {
  const now = shared.clock.now();
  const id = shared.operations.newId();
  const { snapshot } = instance.status;
  return {
    id,
    name: input.name ?? freeName(shared, instance, now, id),
    project: instance.project,
    labels: input.labels,
    revision: 0,
    createdAt: now,
    spec: {
      instance: instance.id,
      ...(input.description === undefined ? {} : { description: input.description }),
    },
    status: { state: 'creating', disks: [], ...(snapshot === undefined ? {} : { parent: snapshot }) },
  };
}

/** By the second; with more behind it for another in the same one. */
function freeName({ snapshots }: Shared, { id: instance }: Instance, now: string, id: string): string {
  const name = `at-${now.slice(0, 19).replaceAll(':', '').toLowerCase()}`;
  return snapshots.find(name, instance) === undefined ? name : `${name}-${id.slice(-6).toLowerCase()}`;
}

/** Reads only frozen layers: the guest may run. */
function exportSnapshot({ shared }: SnapshotParts, id: string): Work {
  const { snapshots, layers, transfer } = shared;
  return async (progress) => {
    const { format, path, disk } = progress.input as { format: 'qcow2'; path: string; disk?: string };
    const snapshot = snapshots.require(id);
    requireReady(snapshot, 'snapshot.export');
    const { status, name } = snapshot;
    const chosen = status.disks.filter((one) => disk === undefined || one.disk === disk);
    if (chosen.length === 0)
      throw new WirtError('snapshot.failed', `Snapshot ${name} has no disk ${disk ?? ''}.`);
    const several = chosen.length > 1;
    // What an earlier daemon had begun, and nobody else's file of that name.
    if (progress.recovering) await transfer.removeOutput(path);
    if (several) await transfer.makeDirectory(path);
    try {
      const files: string[] = [];
      for (const one of chosen) {
        const target = several ? `${path}/${one.disk}.${format}` : path;
        await confined(shared, progress, `export ${one.disk}`, async (work) => {
          const frozen = { volume: one.volume, layer: one.layer };
          const source = await layers.sourceOf(frozen);
          return await transfer.fromSource(source, { path: target, format }, work);
        });
        files.push(target);
      }
      await progress.complete([], { files });
    } catch (error) {
      if (several) await transfer.removeOutput(path);
      throw error;
    }
  };
}
