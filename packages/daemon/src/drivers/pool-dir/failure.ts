/**
 * What goes wrong with the files of a pool, as errors of the catalogue: storage that is full, an image that another process
 * has open, and everything else in the words of the system or of QEMU's tools.
 */
import { WirtError } from '@wirt/api';
import { QemuImgError, QemuImgUnavailable } from '@wirt/qemu';
import { fsError } from '../../platform/fs-error.ts';

const full = /no space left on device|disk quota exceeded/i;
/** env(1), the last word before a program that is not there, or in no folder that may be searched. */
const notInstalled =
  /(?:setpriv: failed to execute |^env: .*: (?:No such file or directory|Permission denied))/m;
const locked = /Failed to (?:get|lock)|Is another process using the image/;

/** `operation` completes "Could not … PATH". */
export function fileFailure(error: unknown, operation: string, path: string): WirtError {
  return fsError(error, operation, path, 'volume.failed');
}

/** `operation` completes "Could not … PATH". What is an error of the catalogue already is returned as it is. */
export function toolFailure(error: unknown, operation: string, path: string): WirtError {
  if (error instanceof WirtError) return error;
  const message = `Could not ${operation} ${path}.`;
  const words = error instanceof QemuImgError ? error.stderr : error instanceof Error ? error.message : '';
  if (full.test(words))
    return new WirtError('host.storage_full', message, {
      cause: error,
      hint: `Free space on the file system: df -h ${path}`,
      details: { path },
    });
  if (locked.test(words)) return lockedFailure(path, error);
  if (error instanceof QemuImgUnavailable || notInstalled.test(words))
    return new WirtError('host.tool_missing', message, {
      cause: error,
      hint: 'Install QEMU’s tools: apt install qemu-utils qemu-system-common',
    });
  return new WirtError('volume.failed', message, { cause: error, details: { path } });
}

export function lockedFailure(path: string, cause?: unknown): WirtError {
  return new WirtError('volume.locked', `Another process has ${path} open.`, {
    cause,
    hint: `See which: fuser -v ${path}`,
    details: { path },
  });
}
