/**
 * Numbers and texts at known places of a header, in one byte order. A place beyond the bytes is a defect of the caller
 * (RangeError); a number that JavaScript cannot hold exactly is the file's, and is refused.
 */

import { DiskRefused } from './refused.ts';

export type ByteOrder = 'big' | 'little';

export interface ByteFields {
  readonly bytes: Uint8Array;
  u8(at: number): number;
  u16(at: number): number;
  u32(at: number): number;
  /** At most 2^53 - 1; more is refused as absurd, with this name. */
  u64(at: number, name: string): number;
  /** For masks and counters that are only compared. */
  bits64(at: number): bigint;
  /** One character for each byte. */
  text(at: number, length: number): string;
  isZero(at: number, length: number): boolean;
}

export function byteFields(bytes: Uint8Array, order: ByteOrder, format: string): ByteFields {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const little = order === 'little';
  const part = (at: number, length: number): Uint8Array => {
    if (at < 0 || at + length > bytes.length) throw new RangeError(`no bytes ${at} to ${at + length}`);
    return bytes.subarray(at, at + length);
  };
  return {
    bytes,
    u8: (at) => view.getUint8(at),
    u16: (at) => view.getUint16(at, little),
    u32: (at) => view.getUint32(at, little),
    u64(at, name) {
      const value = view.getBigUint64(at, little);
      if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
        throw new DiskRefused('absurd-geometry', format, `its ${name} is ${value}`);
      }
      return Number(value);
    },
    bits64: (at) => view.getBigUint64(at, little),
    text: (at, length) => String.fromCharCode(...part(at, length)),
    isZero: (at, length) => part(at, length).every((byte) => byte === 0),
  };
}
