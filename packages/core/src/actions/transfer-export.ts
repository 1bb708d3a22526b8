/** Exporting whole machines at rest: everything is written, or nothing is left. */
import {
  type ExportCreate,
  exportCreateSchema,
  type ImportNote,
  type Instance,
  type Volume,
  WirtError,
} from '@wirt/api';
import { exportNotes } from '../domain/machine/export-notes.ts';
import { draftOf } from '../domain/machine/import-plan.ts';
import { writeLibvirt } from '../domain/machine/libvirt-write.ts';
import { writeOvf } from '../domain/machine/ovf-write.ts';
import type { CopyWork } from '../ports/volume-pool.ts';
import { confined } from './confined.ts';
import { firmwareOf } from './instance-disks.ts';
import { requireCan } from './instance-state.ts';
import type { Work } from './operation-runner.ts';
import type { Shared } from './parts.ts';
import { activeOf, volumesOf } from './volume-layers.ts';

export function exportMachine({ shared }: { readonly shared: Shared }, id: string): Work {
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

function notesOf(exporting: Exporting, format: ExportCreate['format']): readonly ImportNote[] {
  const { instance } = exporting;
  const image = imageOf(exporting);
  return exportNotes({ instance, image, firmware: firmwareOf(instance.spec, image), format });
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
  return { files: [path], notes: [...notesOf(exporting, 'ova'), ...notes] };
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
  return { files, notes: [...notesOf(exporting, 'libvirt'), ...written.notes] };
}

/** One disk into one file; several into a directory. */
async function exportBare(exporting: Exporting, format: 'qcow2' | 'raw'): Promise<Record<string, unknown>> {
  const { volumes, path, instance } = exporting;
  const notes = notesOf(exporting, format);
  if (volumes.size === 1) return { files: await writeDisks(exporting, format, () => path), notes };
  const nameOf = (disk: string): string => `${path}/${instance.name}-${disk}.${format}`;
  return { files: await inDirectory(exporting, () => writeDisks(exporting, format, nameOf)), notes };
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
