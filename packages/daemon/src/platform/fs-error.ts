/** Errors of file system calls as errors of the catalogue: what was done to which path, why not, and what to do. */
import { dirname } from 'node:path';
import { type ErrorCode, WirtError } from '@wirt/api';

export function hasErrno(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code));
}

/**
 * `operation` completes "Could not … PATH", as in "write". `fallback` is the code of an error that is neither a full
 * nor a read-only file system nor a missing permission. An error that is the catalogue's already is returned as it is.
 */
export function fsError(
  error: unknown,
  operation: string,
  path: string,
  fallback: ErrorCode = 'internal',
): WirtError {
  if (error instanceof WirtError) return error;
  const message = `Could not ${operation} ${path}.`;
  const errno = error instanceof Error && 'code' in error ? String(error.code) : undefined;
  const make = (code: ErrorCode, hint?: string): WirtError =>
    new WirtError(code, message, {
      cause: error,
      details: { path, ...(errno === undefined ? {} : { errno }) },
      ...(hint === undefined ? {} : { hint }),
    });
  switch (errno) {
    case 'ENOSPC':
      return make(
        'host.storage_full',
        `Free space, or inodes, on the file system: df -h ${path}; df -i ${path}`,
      );
    case 'EDQUOT':
      return make('host.storage_full', `The disk quota is used up; free space or raise it: quota -s`);
    case 'EROFS':
      return make('host.storage_read_only', `See why it is read-only: findmnt -T ${path}; dmesg | tail`);
    case 'EACCES':
    case 'EPERM':
      return make(
        'host.permission_denied',
        `See who may do it: namei -l ${path}; then give the user of wirtd the right: chown USER ${dirname(path)}`,
      );
    default:
      return make(fallback);
  }
}
