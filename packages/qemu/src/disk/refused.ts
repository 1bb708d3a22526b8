/**
 * Why a disk file is refused, for people (message) and for programs (reason).
 */

import { excerpt } from '../json.ts';

export type DiskRefusedReason =
  /** The file reads through to another one. */
  | 'backing-file'
  /** The data are in another file. */
  | 'data-file'
  | 'differencing'
  /** An extent that is not a plain file beside the descriptor. */
  | 'external-extent'
  | 'encrypted'
  /** A size, a count or a unit that no real disk has, or over the limit that was given. */
  | 'absurd-geometry'
  /** Two places in the file tell different sizes. */
  | 'size-lie'
  /** Something that the file counts on is beyond its end. */
  | 'truncated'
  /** The file is not of the format that was said. */
  | 'format-mismatch'
  /** A format, or a feature of one, that QEMU does not read, or reads wrongly. */
  | 'unsupported-feature'
  | 'malformed';

/** The file was refused before QEMU saw it. The message names the format and what was found. */
export class DiskRefused extends Error {
  override readonly name = 'DiskRefused';
  readonly code = 'disk_refused';
  readonly reason: DiskRefusedReason;

  constructor(reason: DiskRefusedReason, format: string, found: string) {
    super(`${format}: ${found}`);
    this.reason = reason;
  }
}

/** Bytes of a stranger as text for a message: short, quoted, without control characters. */
export function quoteBytes(bytes: Uint8Array): string {
  return excerpt(new TextDecoder().decode(bytes.subarray(0, 512)));
}
