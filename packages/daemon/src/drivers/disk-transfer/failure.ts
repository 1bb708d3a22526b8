/**
 * What goes wrong with foreign disk files, as errors of the catalogue, and with the programs that read and write them.
 */
import { type ErrorCode, WirtError } from '@wirt/api';
import { DiskRefused, QemuImgError, QemuImgTimeout, QemuImgUnavailable } from '@wirt/qemu';
import { fsError } from '../../platform/fs-error.ts';

const full = /No space left on device|Disk quota exceeded/;
const locked = /Failed to (?:get|lock)|Is another process using the image/;

/** Of the words before a program, when it is not there. */
const NOT_FOUND_STATUS = 127;

/** Reasons of ours, beside those of packages/qemu. */
export type RefusedReason = 'link' | 'not-a-file' | 'not-a-disk' | 'wirts-own' | 'in-use';

export function refused(path: string, reason: RefusedReason, why: string, hint?: string): WirtError {
  return new WirtError('disk.refused', `${path} is not opened: ${why}.`, {
    details: { path, reason },
    ...(hint === undefined ? {} : { hint }),
  });
}

/** An error while looking into a disk file. The signal's reason, and what is of the catalogue, are returned as they are. */
export function inspectionFailure(error: unknown, path: string, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  if (!(error instanceof DiskRefused)) return fsError(error, 'read', path, 'disk.refused');
  const { reason } = error;
  const isMismatch = reason === 'format-mismatch';
  return new WirtError(
    isMismatch ? 'disk.format_mismatch' : 'disk.refused',
    `${path} is not opened (${reason}).`,
    { cause: error, details: { path, reason }, hint: hintFor(error) },
  );
}

function hintFor({ reason }: DiskRefused): string {
  switch (reason) {
    case 'backing-file':
    case 'data-file':
    case 'differencing':
      return 'Merge it with the files it needs, where it comes from: qemu-img convert -O qcow2 FILE WHOLE.qcow2';
    case 'external-extent':
      return 'Put the extents beside the descriptor, and name them there without a folder.';
    case 'encrypted':
      return 'Decrypt it where it comes from, with the tools that encrypted it.';
    case 'format-mismatch':
      return 'Say the format that it has; a raw disk that begins like another format must be converted by hand.';
    case 'absurd-geometry':
    case 'size-lie':
    case 'truncated':
    case 'malformed':
      return 'Copy it again from where it comes from, and look at it there: qemu-img check FILE';
    case 'unsupported-feature':
      return 'Convert it where it comes from: qemu-img convert -O qcow2 FILE NEW.qcow2';
  }
}

export interface ToolFailure {
  readonly code: ErrorCode;
  /** A sentence: what could not be done to what. */
  readonly message: string;
  /** Where the bytes go. */
  readonly path: string;
  readonly signal: AbortSignal;
}

/** An error of qemu-img or of what was done around it. */
export function toolFailure(error: unknown, { code, message, path, signal }: ToolFailure): unknown {
  if (signal.aborted) return signal.reason;
  if (error instanceof WirtError) return error;
  const make = (errorCode: ErrorCode, hint?: string): WirtError =>
    new WirtError(errorCode, message, {
      cause: error,
      details: { path },
      ...(hint === undefined ? {} : { hint }),
    });
  const isMissing = error instanceof QemuImgError && error.exitCode === NOT_FOUND_STATUS;
  if (isMissing || error instanceof QemuImgUnavailable)
    return make('host.tool_missing', 'Install QEMU’s tools: apt install qemu-utils');
  if (error instanceof QemuImgTimeout)
    return make(code, 'The storage is slower than 2 MiB/s: see `iostat -x 5`.');
  if (!(error instanceof QemuImgError)) return fsError(error, 'write', path, code);
  if (full.test(error.stderr))
    return make('host.storage_full', `Free space on the file system: df -h ${path}`);
  if (locked.test(error.stderr)) return make(code, 'A machine still runs on this disk: shut it down first.');
  return make(code);
}
