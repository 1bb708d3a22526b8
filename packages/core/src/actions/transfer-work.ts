/**
 * Importing and exporting whole machines. An import makes everything or nothing: what fails or is cancelled leaves no instance, volume or
 * file; what the end of the daemon interrupted begins anew.
 */
import {
  type Disk,
  exportCreateSchema,
  type ImportCreate,
  type Instance,
  importCreateSchema,
  maxVolumeBytes,
  type Volume,
  WirtError,
} from '@wirt/api';
import type { DraftDisk, MachineDraft } from '../domain/machine/draft.ts';
import { draftOf, exportNotes, readMachine, withWishes } from '../domain/machine/import-plan.ts';
import { writeLibvirt } from '../domain/machine/libvirt-write.ts';
import { writeOvf } from '../domain/machine/ovf-write.ts';
import { Undo } from '../domain/undo.ts';
import type { OpenedMachine } from '../ports/disk-transfer.ts';
import type { CopyWork } from '../ports/volume-pool.ts';
import { confined } from './confined.ts';
import { firmwareOf } from './instance-disks.ts';
import type { InstanceLife } from './instance-life.ts';
import { requireCan } from './instance-state.ts';
import { isStopping, type Progress, type Work } from './operation-runner.ts';
import type { Shared } from './parts.ts';
import { keepingRoom, requireRoom } from './pool.ts';
import { commit, nameConflict } from './records.ts';
import { activeOf, storedLayer, volumesOf } from './volume-layers.ts';
import { newVolume, volumeNameFor } from './volume-new.ts';
import { removeLayers } from './volume-work.ts';

export interface TransferParts {
  readonly shared: Shared;
  readonly life: InstanceLife;
}

const maxPackageBytes = 16 * 1024 ** 4;

export function importMachine({ shared, life }: TransferParts, id: string): Work {
  const { instances, volumes, transfer, logger, faults } = shared;
  return async (progress) => {
    const input = importCreateSchema.parse(progress.input);
    await using undo = new Undo((error) => logger.error('import.undo_failed', { instance: id, error }));
    undo.add(() => removeImport(shared, id, progress));
    await removeVolumes(shared, id);
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
    await progress.complete([
      instances.put({ ...instance, spec: { ...instance.spec, disks: made } }),
      ...[...ownVolumes(shared, id)].map((volume) =>
        volumes.put({ ...volume, status: { ...volume.status, state: 'ready' } }),
      ),
    ]);
    undo.release();
    await transfer.clean(id);
    if (input.start)
      await life.start(
        { caller: 'import', signal: progress.signal },
        'instance.start',
        instances.require(id),
        { paused: false },
      );
  };
}

function ownVolumes({ volumes }: Shared, id: string): Volume[] {
  return [...volumes.after()].filter(({ status }) => status.attachment?.instance === id);
}

async function removeVolumes(shared: Shared, id: string): Promise<void> {
  for (const volume of ownVolumes(shared, id)) {
    await removeLayers(shared, volume);
    await commit(shared.store, [shared.volumes.remove(volume)]);
  }
}

/** The next daemon begins anew what this one's end interrupts, and needs the record. */
async function removeImport(shared: Shared, id: string, progress: Progress): Promise<void> {
  if (isStopping(progress)) return;
  await removeVolumes(shared, id);
  await shared.transfer.clean(id);
  const instance = shared.instances.get(id);
  if (instance !== undefined) await commit(shared.store, [shared.instances.remove(instance)]);
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
      requireSame(disk, opened.virtualSizeBytes);
      await requireRoom(shared, importing.input.pool, Math.min(opened.fileBytes, opened.virtualSizeBytes));
      const volume = await stageVolume(importing, key, opened.virtualSizeBytes, source.name);
      const pool = await shared.storage.open(volume.spec.pool);
      await keepingRoom(shared, volume.spec.pool, work, (kept) =>
        shared.transfer.toLayer(opened, pool, storedLayer(volume, volume.status.active), kept),
      );
      return volume;
    }
  }
}

/** A description and a header that contradict each other: one of them lies. */
function requireSame({ key, sizeBytes }: DraftDisk, found: number): void {
  // VMware and VirtualBox round the stated capacity up to their own units.
  if (sizeBytes === undefined || Math.abs(sizeBytes - found) <= 1_048_576 || found < sizeBytes) return;
  throw new WirtError(
    'disk.refused',
    `Disk ${key} has ${found} bytes by its own header, and ${sizeBytes} by the description of the machine.`,
    { details: { reason: 'size-lie', statedBytes: sizeBytes, foundBytes: found } },
  );
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
    await commit(store, [volumes.put(volume)]).catch((error: unknown) => {
      throw nameConflict(error, 'volume');
    });
    return volumes.require(volume.id);
  });
}

export function exportMachine({ shared }: TransferParts, id: string): Work {
  const { instances } = shared;
  return async (progress) => {
    const { format, path } = exportCreateSchema.parse(progress.input);
    const instance = instances.require(id);
    requireCan('export', instance);
    const volumes = volumesOf(shared, instance);
    if (volumes.size === 0)
      throw new WirtError('export.failed', `Instance ${instance.name} has no disks to export.`, {
        hint: 'A guest of a kernel image is made again by `wirt run`.',
      });
    await shared.faults.at('instance.export/write');
    // What an earlier daemon had begun, and nobody else's file of that name.
    if (progress.recovering) await shared.transfer.removeOutput(path);
    const result = await confined(shared, progress, 'export', (work) => {
      const exporting = { shared, instance, volumes, path, work: { ...work, id: progress.id } };
      switch (format) {
        case 'ova':
          return exportOva(exporting);
        case 'libvirt':
          return exportLibvirt(exporting);
        case 'qcow2':
        case 'raw':
          return exportBare(exporting, format);
      }
    });
    await progress.complete([], result);
  };
}

interface Exporting {
  readonly shared: Shared;
  readonly instance: Instance;
  readonly volumes: ReadonlyMap<string, Volume>;
  readonly path: string;
  readonly work: CopyWork & { readonly id: string };
}

function imageOf({ shared, instance }: Exporting) {
  const { image } = instance.spec;
  return image === undefined ? undefined : shared.images.find(image, instance.project);
}

async function exportOva(exporting: Exporting): Promise<Record<string, unknown>> {
  const { shared, instance, volumes, path, work } = exporting;
  const nameOf = (disk: string): string => `${instance.name}-${disk}.vmdk`;
  const firmware = firmwareOf(instance.spec, imageOf(exporting));
  const draft = draftOf(instance, firmware, volumes, { format: 'vmdk', name: nameOf });
  const disks = [];
  for (const [disk, volume] of volumes) {
    disks.push({ name: nameOf(disk), source: await shared.layers.sourceOf(activeOf(volume)) });
  }
  const text = (sizes: ReadonlyMap<string, number>): string => writeOvf(draft, { sizes }).xml;
  await shared.transfer.writeOva(path, { name: `${instance.name}.ovf`, text }, disks, work);
  const { notes } = writeOvf(draft, { sizes: new Map() });
  return { files: [path], notes: [...exportNotes(instance, firmware), ...notes] };
}

async function exportLibvirt(exporting: Exporting): Promise<Record<string, unknown>> {
  const { shared, instance, volumes, path } = exporting;
  const nameOf = (disk: string): string => `${path}/${instance.name}-${disk}.qcow2`;
  const firmware = firmwareOf(instance.spec, imageOf(exporting));
  const written = writeLibvirt(draftOf(instance, firmware, volumes, { format: 'qcow2', name: nameOf }));
  const xml = `${path}/${instance.name}.xml`;
  const files = await inDirectory(exporting, async () => {
    const paths = await writeDisks(exporting, 'qcow2', nameOf);
    await shared.transfer.writeText(xml, written.xml);
    return [xml, ...paths];
  });
  return { files, notes: [...exportNotes(instance, firmware), ...written.notes] };
}

/** One disk into one file; several into a directory. */
async function exportBare(exporting: Exporting, format: 'qcow2' | 'raw'): Promise<Record<string, unknown>> {
  const { volumes, path, instance } = exporting;
  if (volumes.size === 1) return { files: await writeDisks(exporting, format, () => path) };
  const nameOf = (disk: string): string => `${path}/${instance.name}-${disk}.${format}`;
  return { files: await inDirectory(exporting, () => writeDisks(exporting, format, nameOf)) };
}

async function inDirectory<T>({ shared, path }: Exporting, write: () => Promise<T>): Promise<T> {
  await shared.transfer.makeDirectory(path);
  try {
    return await write();
  } catch (error) {
    await shared.transfer.removeOutput(path);
    throw error;
  }
}

async function writeDisks(
  { shared, volumes, work }: Exporting,
  format: 'qcow2' | 'raw',
  nameOf: (disk: string) => string,
): Promise<string[]> {
  const files: string[] = [];
  for (const [disk, volume] of volumes) {
    const path = nameOf(disk);
    const source = await shared.layers.sourceOf(activeOf(volume));
    await shared.transfer.fromSource(source, { path, format }, work);
    files.push(path);
  }
  return files;
}
