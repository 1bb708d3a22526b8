/**
 * What an import would do: the description is read, and every disk of it looked into as the import does, confined. Changes nothing;
 * what was unpacked for it is removed.
 */
import { type ImportCreate, type ImportPlan, maxVolumeBytes, WirtError } from '@wirt/api';
import { bootFactsOf, bootHeadBytes } from '../domain/machine/boot-facts.ts';
import { volumeBytesOf } from '../domain/machine/disk-size.ts';
import type { DraftDisk, MachineDraft } from '../domain/machine/draft.ts';
import {
  type DiskLook,
  type MachineKind,
  planOf,
  readMachine,
  withWishes,
} from '../domain/machine/import-plan.ts';
import { type ImportNote, note } from '../domain/machine/notes.ts';
import type { OpenedDisk, OpenedMachine } from '../ports/disk-transfer.ts';
import type { CopyWork } from '../ports/volume-pool.ts';
import type { Request } from './actions.ts';
import { confined } from './confined.ts';
import type { Shared } from './parts.ts';
import { requireRoom } from './pool.ts';
import { maxPackageBytes } from './transfer-work.ts';

/** A description that was read; what of the host contradicts it is `fit`'s to change. */
export interface Read {
  readonly kind: MachineKind;
  readonly draft: MachineDraft;
}

/** Codes of `head` that say nothing against the disk. */
const unread: ReadonlySet<string> = new Set(['disk.convert_failed', 'host.storage_full']);

type Fit = (draft: MachineDraft) => MachineDraft;

/** The description alone; disks are opened when they are imported. */
export function readDescription(
  shared: Shared,
  request: Request,
  input: ImportCreate,
  fit: Fit,
): Promise<Read> {
  return reading(shared, request, input, fit, (read) => Promise.resolve(read));
}

/** `check` throws what an import would throw of the draft by itself. */
export async function planImport(
  shared: Shared,
  request: Request,
  input: ImportCreate,
  fit: Fit,
  check: (draft: MachineDraft) => void,
): Promise<ImportPlan> {
  shared.pools.require(input.pool);
  return reading(shared, request, input, fit, async ({ kind, draft }, opened) => {
    check(draft);
    const looks = new Map<string, DiskLook>();
    for (const disk of draft.disks)
      if (disk.device === 'disk' && disk.source.kind === 'file')
        looks.set(disk.key, await lookAt(shared, input, disk, opened));
    const { notes, ...plan } = planOf(kind, draft, looks);
    const neededBytes = [...looks.values()].reduce((sum, look) => sum + bytesOf(look), 0);
    return {
      ...plan,
      pool: input.pool,
      neededBytes,
      notes: [
        ...noDiskNotes(draft),
        ...nameNotes(shared, draft, input),
        ...(await roomNotes(shared, input, neededBytes)),
        ...notes,
      ],
    };
  });
}

interface Opened {
  readonly machine: OpenedMachine;
  readonly id: string;
  readonly work: CopyWork;
}

async function reading<T>(
  shared: Shared,
  request: Request,
  input: ImportCreate,
  fit: Fit,
  use: (read: Read, opened: Opened) => Promise<T>,
): Promise<T> {
  const { transfer, operations } = shared;
  const id = operations.newId();
  const progress = { id, signal: request.signal, stage: () => undefined };
  return confined(shared, progress, 'read', async (work) => {
    const { path, format } = input;
    try {
      const from = { path, format, id, unpack: false, maxBytes: maxPackageBytes, work };
      await using machine = await transfer.openMachine(from);
      const bare = { path, format: input.diskFormat };
      const draft = withWishes(readMachine(machine.kind, machine.text, bare), input);
      return await use({ kind: machine.kind, draft: fit(draft) }, { machine, id, work });
    } finally {
      await transfer.clean(id);
    }
  });
}

async function lookAt(
  shared: Shared,
  input: ImportCreate,
  disk: DraftDisk,
  { machine, id, work }: Opened,
): Promise<DiskLook> {
  const { transfer, pools } = shared;
  const name = disk.source.kind === 'file' ? disk.source.name : '';
  try {
    const path = machine.kind === 'disk' ? input.path : machine.resolve(name);
    const compression = await transfer.compressionOf({ path, compression: disk.compression });
    if (compression !== 'none' && !input.dryRun) return { state: 'packed', compression };
    await using opened = await transfer.openDisk({
      path,
      format: disk.format ?? input.diskFormat,
      compression: disk.compression,
      id,
      maxVirtualBytes: maxVolumeBytes,
      poolDirectories: [...pools.after()].map(({ spec }) => spec.path),
      work,
    });
    const { format, virtualSizeBytes, fileBytes, device } = opened;
    volumeBytesOf(disk, virtualSizeBytes);
    const head = disk.bootOrder === 1 ? await headOf(shared, path, opened, work) : undefined;
    const found = {
      state: 'found',
      format,
      virtualSizeBytes,
      fileBytes,
      ...(device === undefined ? {} : { device }),
      // Who names a file by hand knows what it is.
      unmarked: opened.unmarked.filter((file) => file !== input.path),
    } as const;
    return head === undefined ? found : { ...found, boot: bootFactsOf(head) };
  } catch (error) {
    if (error instanceof WirtError && error.code === 'disk.not_found') return { state: 'missing' };
    throw error;
  }
}

/** A plan without them is a plan: what cannot be read here may be read when it is imported. */
async function headOf(
  { transfer, logger }: Shared,
  path: string,
  opened: OpenedDisk,
  work: CopyWork,
): Promise<Uint8Array | undefined> {
  try {
    return await transfer.head(opened, bootHeadBytes, work);
  } catch (error) {
    const isHarmless = error instanceof WirtError && unread.has(error.code);
    if (!isHarmless || work.signal.aborted) throw error;
    logger.warn('import.head_failed', { path, error });
    return undefined;
  }
}

/** What an import asks the pool for. */
function bytesOf(look: DiskLook): number {
  return look.state === 'found' ? Math.min(look.fileBytes, look.virtualSizeBytes) : 0;
}

/** Why there is none is in the notes on those that were left out. */
function noDiskNotes({ disks }: MachineDraft): ImportNote[] {
  if (disks.some(({ device }) => device === 'disk')) return [];
  return [
    note('disks', 'none', 'Without a disk there is no machine to make: the import will fail.', 'dropped'),
  ];
}

function nameNotes({ instances }: Shared, { name }: MachineDraft, { project }: ImportCreate): ImportNote[] {
  if (instances.find(name, project) === undefined) return [];
  return [
    note(
      'name',
      name,
      'An instance has it: the import will fail until it gets another with --name.',
      'dropped',
    ),
  ];
}

async function roomNotes(shared: Shared, { pool }: ImportCreate, bytes: number): Promise<ImportNote[]> {
  try {
    await requireRoom(shared, pool, bytes);
    return [];
  } catch (error) {
    if (!(error instanceof WirtError) || error.code !== 'pool.full') throw error;
    return [note('pool', pool, `The import will fail until there is room: ${error.message}`, 'dropped')];
  }
}
