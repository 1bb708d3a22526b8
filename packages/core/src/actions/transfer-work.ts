/**
 * Importing whole machines. An import makes everything or nothing: what fails or is cancelled leaves no instance, volume or
 * file; what the end of the daemon interrupted begins anew. A start that was asked for comes after that: when it fails, the machine stays.
 */
import {
  type Disk,
  type ImportCreate,
  importCreateSchema,
  maxVolumeBytes,
  type Volume,
  WirtError,
} from '@wirt/api';
import { volumeBytesOf } from '../domain/machine/disk-size.ts';
import type { DraftDisk, MachineDraft } from '../domain/machine/draft.ts';
import { readMachine, withWishes } from '../domain/machine/import-plan.ts';
import { Undo } from '../domain/undo.ts';
import type { OpenedMachine } from '../ports/disk-transfer.ts';
import type { CopyWork } from '../ports/volume-pool.ts';
import { confined } from './confined.ts';
import type { InstanceLife } from './instance-life.ts';
import { isStopping, type Progress, type Work } from './operation-runner.ts';
import type { Shared } from './parts.ts';
import { keepingRoom, requireRoom } from './pool.ts';
import { promising } from './pool-promise.ts';
import { commit, nameConflict } from './records.ts';
import { storedLayer } from './volume-layers.ts';
import { newVolume, volumeNameFor } from './volume-new.ts';
import { removeLayers } from './volume-work.ts';

export interface TransferParts {
  readonly shared: Shared;
  readonly life: InstanceLife;
}

/** Descriptions are small; what is read of a package to find one is bounded by the transfer. */
export const maxPackageBytes = 16 * 1024 ** 4;

export function importMachine(parts: TransferParts, id: string): Work {
  const { instances } = parts.shared;
  return async (progress) => {
    const { start } = importCreateSchema.parse(progress.input);
    // Its disks come with the end of the import: an earlier daemon was at the start.
    const isMade = instances.require(id).spec.disks.length > 0;
    if (!isMade) await makeMachine(parts, id, progress);
    if (start) await startMade(parts, id, progress);
  };
}

async function makeMachine({ shared }: TransferParts, id: string, progress: Progress): Promise<void> {
  const { instances, volumes, transfer, logger, faults } = shared;
  const input = importCreateSchema.parse(progress.input);
  await using undo = new Undo((error) => logger.error('import.undo_failed', { instance: id, error }));
  undo.add(() => removeImport(shared, id, progress));
  await removeVolumes(shared, id, progress);
  const { path, format } = input;
  const made = await confined(shared, progress, 'unpack', async (work) => {
    await faults.at('instance.import/open');
    await using machine = await transfer.openMachine({
      path,
      format,
      id,
      unpack: true,
      maxBytes: maxPackageBytes,
      work,
    });
    const draft = withWishes(
      readMachine(machine.kind, machine.text, { path, format: input.diskFormat }),
      input,
    );
    return await importDisks({ shared, machine, draft, input, id, work, progress });
  });
  await faults.at('instance.import/record');
  const instance = instances.require(id);
  const changes = [
    instances.put({ ...instance, spec: { ...instance.spec, disks: made } }),
    ...[...ownVolumes(shared, id)].map((volume) =>
      volumes.put({ ...volume, status: { ...volume.status, state: 'ready' } }),
    ),
  ];
  await (input.start ? progress.record(changes) : progress.complete(changes));
  undo.release();
  await transfer.clean(id);
}

/** Ends the operation when the guest runs. */
async function startMade({ shared, life }: TransferParts, id: string, progress: Progress): Promise<void> {
  await shared.faults.at('instance.import/start');
  try {
    await life.workOf('instance.start', id)({ ...progress, input: { paused: false } });
  } catch (error) {
    if (!(error instanceof WirtError) || progress.signal.aborted) throw error;
    const { name } = shared.instances.require(id);
    const { code, details, hint = `See why: \`wirt logs ${name}\`, then \`wirt start ${name}\`.` } = error;
    throw new WirtError(code, `Machine ${name} is imported, but could not be started.`, {
      cause: error,
      hint,
      ...(details === undefined ? {} : { details }),
    });
  }
}

function ownVolumes({ volumes }: Shared, id: string): Volume[] {
  return [...volumes.after()].filter(({ status }) => status.attachment?.instance === id);
}

async function removeVolumes(shared: Shared, id: string, progress: Progress): Promise<void> {
  for (const volume of ownVolumes(shared, id)) {
    await removeLayers(shared, volume);
    await progress.record([shared.volumes.remove(volume)]);
  }
}

/** The next daemon begins anew what this one's end interrupts, and needs the record. */
async function removeImport(shared: Shared, id: string, progress: Progress): Promise<void> {
  if (isStopping(progress)) return;
  await removeVolumes(shared, id, progress);
  await shared.transfer.clean(id);
  const instance = shared.instances.get(id);
  if (instance !== undefined) await progress.record([shared.instances.remove(instance)]);
}

interface Importing {
  readonly shared: Shared;
  readonly machine: OpenedMachine;
  readonly draft: MachineDraft;
  readonly input: ImportCreate;
  readonly id: string;
  readonly work: CopyWork;
  readonly progress: Progress;
}

async function importDisks(importing: Importing): Promise<Disk[]> {
  const { draft } = importing;
  const disks: Disk[] = [];
  for (const [slot, disk] of draft.disks.entries()) {
    const { key: name, bus, bootOrder } = disk;
    const place = { name, bus, slot, ...(bootOrder === undefined ? {} : { bootOrder }) };
    if (disk.device === 'cdrom') disks.push({ ...place, device: 'cdrom' });
    else {
      const volume = await importDisk(importing, disk);
      disks.push({
        ...place,
        device: 'disk',
        volume: volume.id,
        readOnly: disk.readOnly,
        deleteOnTermination: true,
      });
    }
  }
  return disks;
}

async function importDisk(importing: Importing, disk: DraftDisk): Promise<Volume> {
  const { shared, machine, id, progress } = importing;
  const { source, key } = disk;
  switch (source.kind) {
    case 'empty': {
      const volume = await stageVolume(importing, key, source.sizeBytes, '');
      const pool = await shared.storage.open(volume.spec.pool);
      await pool.create(storedLayer(volume, volume.status.active));
      return volume;
    }
    case 'none':
      throw new WirtError('import.unsupported', `Disk ${key} of the machine has no contents and no size.`);
    case 'file': {
      const work: CopyWork = {
        ...importing.work,
        onProgress: (done, total) => progress.stage(`import ${key}`, { done, total, unit: 'bytes' }),
      };
      const path = machine.kind === 'disk' ? importing.input.path : machine.resolve(source.name);
      await shared.faults.at('instance.import/disk');
      await using opened = await shared.transfer.openDisk({
        path,
        format: disk.format ?? importing.input.diskFormat,
        compression: disk.compression,
        id,
        maxVirtualBytes: maxVolumeBytes,
        poolDirectories: [...shared.pools.after()].map(({ spec }) => spec.path),
        work,
      });
      const sizeBytes = volumeBytesOf(disk, opened.virtualSizeBytes);
      await requireRoom(shared, importing.input.pool, Math.min(opened.fileBytes, opened.virtualSizeBytes));
      const volume = await stageVolume(importing, key, sizeBytes, source.name);
      const pool = await shared.storage.open(volume.spec.pool);
      await keepingRoom(shared, volume.spec.pool, work, (kept) =>
        shared.transfer.toLayer(opened, pool, storedLayer(volume, volume.status.active), kept),
      );
      return volume;
    }
  }
}

/** Its record comes before its file, so that nothing lies about without an owner. */
async function stageVolume(
  { shared, draft, input, id }: Importing,
  disk: string,
  bytes: number,
  file: string,
): Promise<Volume> {
  const { volumes, store, pools, lanes } = shared;
  const sizeBytes = Math.ceil(bytes / 512) * 512;
  return lanes.run(pools.require(input.pool).id, async () => {
    const made = newVolume(shared, {
      name: volumeNameFor(shared, draft.name, disk, input.project),
      project: input.project,
      labels: {},
      pool: input.pool,
      format: 'qcow2',
      sizeBytes,
      source: { kind: 'empty' },
    });
    const volume: Volume = {
      ...made,
      spec: { ...made.spec, origin: file === '' ? { kind: 'empty' } : { kind: 'file', file } },
      status: { ...made.status, attachment: { instance: id, disk } },
    };
    await promising(shared, [volume], () => commit(store, [volumes.put(volume)])).catch((error: unknown) => {
      throw nameConflict(error, 'volume');
    });
    return volumes.require(volume.id);
  });
}
