/**
 * Converts disks of ours into files outside. Their layers' headers were written by guests' QEMUs, so that this is as confined as what
 * comes in: every layer is named to qemu-img with its format and place, and the file by its descriptor.
 */
import { type FileHandle, symlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { ErrorCode } from '@wirt/api';
import type { CopyWork, DiskSource, DiskTransfer } from '@wirt/core';
import type { ImageFormatOptions } from '@wirt/qemu';
import type { Loans } from '../../platform/lend.ts';
import { inheritedPath } from './confined-source.ts';
import { inspectLayers, nodeOf } from './own-layers.ts';
import type { QemuConvert } from './qemu-convert.ts';
import type { Staging } from './staging.ts';

export type OutgoingFormat = Parameters<DiskTransfer['fromSource']>[1]['format'];

export interface OutgoingTools {
  readonly convert: QemuConvert;
  readonly staging: Staging;
  readonly loans: Loans;
}

export interface OutgoingTarget {
  /** Where it will be, for messages, and for the name that a VMDK says it has. */
  readonly path: string;
  /** Empty, and open for reading and writing. */
  readonly handle: FileHandle;
  readonly format: OutgoingFormat;
  readonly streamOptimized: boolean;
  readonly code: ErrorCode;
}

/**
 * The file stays open; it belongs to the daemon before and after. Throws `code`, the signal's reason, `host.*`; `host.storage_full` while
 * there is room yet, see `platform/free-space.ts`.
 */
export async function convertOut(
  source: DiskSource,
  target: OutgoingTarget,
  { convert, staging, loans }: OutgoingTools,
  work: CopyWork,
): Promise<void> {
  const { path, handle, format } = target;
  work.signal.throwIfAborted();
  const virtualSizeBytes = await inspectLayers(source);
  const { identity } = work.confinement;
  const { own, uid, gid } = identity;
  const read = source.layers.map(({ location }) => location.path);
  await using _loan = await loans.lend(identity, { read }, 'export.failed');
  await using alias = format === 'vmdk' ? await staging.scratch() : undefined;
  const name = alias === undefined ? inheritedPath(0) : await makeAlias(alias.path, path);
  if (own) await handle.chown(uid, gid);
  await convert({
    source: { blockdev: nodeOf(source), descriptors: [] },
    virtualSizeBytes,
    target: { path: name, format, formatOptions: optionsOf(target), descriptor: handle.fd },
    // Whosever file system it is: wirtd, its guests and the rest of the host may be on it as well.
    keepsReserve: true,
    failure: { code: target.code, message: `The disk could not be written to ${path}.`, path },
    work,
    onProgress: (doneBytes) => work.onProgress(doneBytes, virtualSizeBytes),
  });
  if (own) await handle.chown(process.geteuid?.() ?? 0, process.getegid?.() ?? 0);
}

function optionsOf({ format, streamOptimized }: OutgoingTarget): ImageFormatOptions {
  switch (format) {
    case 'vmdk':
      // VMware refuses disks of IDE adapters on the SCSI controllers that exports have.
      return streamOptimized
        ? { subformat: 'streamOptimized', adapter_type: 'lsilogic' }
        : { subformat: 'monolithicSparse' };
    case 'vpc':
      // Else the size is rounded up to what old geometries can say.
      return { subformat: 'dynamic', force_size: true };
    case 'qcow2':
    case 'raw':
    case 'vhdx':
    case 'vdi':
      return {};
  }
}

/** A VMDK has its own file's name in it. */
async function makeAlias(folder: string, path: string): Promise<string> {
  const name = /^[A-Za-z0-9][A-Za-z0-9 ._-]*$/.test(basename(path)) ? basename(path) : 'disk.vmdk';
  await symlink(inheritedPath(0), join(folder, name));
  return join(folder, name);
}
