// For tests: numbers written over what a disk file says.
import type { Spoil } from './built-disks.ts';

export const littleEndian = {
  u16: (at: number, value: number): Spoil => {
    return (bytes) => bytes.writeUInt16LE(value, at);
  },
  u32: (at: number, value: number): Spoil => {
    return (bytes) => bytes.writeUInt32LE(value, at);
  },
  u64: (at: number, value: bigint | number): Spoil => {
    return (bytes) => bytes.writeBigUInt64LE(BigInt(value), at);
  },
};

export const bigEndian = {
  u32: (at: number, value: number): Spoil => {
    return (bytes) => bytes.writeUInt32BE(value, at);
  },
  u64: (at: number, value: bigint | number): Spoil => {
    return (bytes) => bytes.writeBigUInt64BE(BigInt(value), at);
  },
};
