/**
 * The layout of one instance's file: a header, a ring of 5 s steps for an hour, a ring of 5 min steps for 31 days. Pure. The place of a record
 * follows from its time, so that nothing has to be updated beside it, and a record carries its own checksum: one that was torn, or never written, is none.
 */
import { crc32 } from 'node:zlib';
import type { UsageSample } from '@wirt/core';

export const fineStepMs = 5_000;
export const coarseStepMs = 300_000;
export const headerBytes = 64;

/** The order in the file; one more, or another order, is another version. */
const fields = [
  'cpuCores',
  'cpuThrottled',
  'cpuSteal',
  'cpuPressure',
  'memoryUsedMib',
  'memoryPressure',
  'ioPressure',
  'diskReadBytesPerSecond',
  'diskWrittenBytesPerSecond',
  'diskReadsPerSecond',
  'diskWritesPerSecond',
  'ingressBytesPerSecond',
  'egressBytesPerSecond',
  'ingressPacketsPerSecond',
  'egressPacketsPerSecond',
] as const satisfies readonly (keyof UsageSample)[];

const version = 1;
const magic = 'wirt usage\n';

/** Step number, count of samples, values as float32, CRC-32 of all before; little-endian. */
export const recordBytes = 4 + 4 + 4 * fields.length + 4;
const crcAt = recordBytes - 4;

export interface Ring {
  readonly stepMs: number;
  readonly steps: number;
  /** Where it begins in the file. */
  readonly offset: number;
}

export const fineRing: Ring = { stepMs: fineStepMs, steps: 720, offset: headerBytes };
export const coarseRing: Ring = {
  stepMs: coarseStepMs,
  steps: 31 * 24 * 12,
  offset: headerBytes + fineRing.steps * recordBytes,
};
export const fileBytes = coarseRing.offset + coarseRing.steps * recordBytes;

/** The mean of `count` samples over a step, which is known by the number of its end. */
export interface StepMean {
  readonly step: number;
  readonly count: number;
  /** In the order of the file. */
  readonly values: Float64Array;
}

/** The step that a moment belongs to: the one that ends then, or next after it. */
export function stepNumber(ring: Ring, atMs: number): number {
  return Math.ceil(atMs / ring.stepMs);
}

export function placeOf(ring: Ring, step: number): number {
  return ring.offset + (step % ring.steps) * recordBytes;
}

export function header(id: string): Buffer {
  const bytes = Buffer.alloc(headerBytes);
  bytes.write(magic, 0, 'latin1');
  bytes.writeUInt8(version, 15);
  bytes.writeUInt16LE(recordBytes, 16);
  bytes.write(id, 18, 'latin1');
  bytes.writeUInt32LE(crc32(bytes.subarray(0, headerBytes - 4)), headerBytes - 4);
  return bytes;
}

export function encode(mean: StepMean, into: Buffer): void {
  into.writeUInt32LE(mean.step, 0);
  into.writeUInt32LE(mean.count, 4);
  for (let index = 0; index < fields.length; index++)
    into.writeFloatLE(mean.values[index] ?? 0, 8 + 4 * index);
  into.writeUInt32LE(crc32(into.subarray(0, crcAt)), crcAt);
}

/** Undefined for what is no whole record. */
export function decode(bytes: Buffer, offset: number): StepMean | undefined {
  if (offset + recordBytes > bytes.length) return undefined;
  const count = bytes.readUInt32LE(offset + 4);
  if (count === 0) return undefined;
  if (crc32(bytes.subarray(offset, offset + crcAt)) !== bytes.readUInt32LE(offset + crcAt)) return undefined;
  const values = new Float64Array(fields.length);
  for (let index = 0; index < fields.length; index++) {
    const value = bytes.readFloatLE(offset + 8 + 4 * index);
    if (!Number.isFinite(value) || value < 0) return undefined;
    values[index] = value;
  }
  return { step: bytes.readUInt32LE(offset), count, values };
}

/** What float32 cannot hold is brought to what it can. */
function storable(value: number): number {
  if (!(value > 0)) return 0;
  return Math.min(value, 3.4e38);
}

export function valuesOf(sample: UsageSample): Float64Array {
  const values = new Float64Array(fields.length);
  fields.forEach((field, index) => {
    values[index] = storable(sample[field]);
  });
  return values;
}

export function sampleOf(atMs: number, values: Float64Array): UsageSample {
  const sample = { atMs } as Record<string, number>;
  fields.forEach((field, index) => {
    sample[field] = values[index] ?? 0;
  });
  // `fields` are all keys of a sample but `atMs`; the type test beside this file holds them to it.
  return sample as unknown as UsageSample;
}

/** The mean of what `one` is the mean of, and `other` too. */
export function together(one: StepMean | undefined, other: StepMean): StepMean {
  if (one?.step !== other.step) return other;
  const count = one.count + other.count;
  const values = new Float64Array(fields.length);
  for (let index = 0; index < fields.length; index++) {
    const [a = 0, b = 0] = [one.values[index], other.values[index]];
    values[index] = (a * one.count + b * other.count) / count;
  }
  return { step: other.step, count, values };
}

/** All whole records of a ring; `bytes` is the whole file. */
export function* recordsOf(ring: Ring, bytes: Buffer): Iterable<StepMean> {
  for (let index = 0; index < ring.steps; index++) {
    const offset = ring.offset + index * recordBytes;
    if (offset + recordBytes > bytes.length) return;
    const record = decode(bytes, offset);
    // Whole, but at another record's place: not of this ring.
    if (record !== undefined && record.step % ring.steps === index) yield record;
  }
}
