/**
 * Reads and writes the quantities of limits: rates in bytes or bits, counts, cores, times, switches. Strict: what has no unit, or one
 * that could mean two things, is refused with those that are known. Whatever is written here is read back as the same value.
 */
import { BadValue, mibText, parseMib, quote } from './units.ts';

const bytesPer: ReadonlyMap<string, bigint> = new Map([
  ['B', 1n],
  ['kB', 1000n],
  ['MB', 1000n ** 2n],
  ['GB', 1000n ** 3n],
  ['TB', 1000n ** 4n],
  ['KiB', 1024n],
  ['MiB', 1024n ** 2n],
  ['GiB', 1024n ** 3n],
  ['TiB', 1024n ** 4n],
]);

const bitsPer: ReadonlyMap<string, bigint> = new Map([
  ['bit', 1n],
  ['kbit', 1000n],
  ['Mbit', 1000n ** 2n],
  ['Gbit', 1000n ** 3n],
  ['Tbit', 1000n ** 4n],
]);

const byteUnits = [...bytesPer.keys()].join(', ');
const bitUnits = [...bitsPer.keys()].join(', ');

/** Only what can mean nothing else: `mib` yes, `mb` and `M` no. */
function unitIn(units: ReadonlyMap<string, bigint>, given: string): bigint | undefined {
  const exact = units.get(given);
  if (exact !== undefined) return exact;
  if (!/(?:ib|bit)$/i.test(given) && !given.endsWith('B')) return undefined;
  return [...units].find(([unit]) => unit.toLowerCase() === given.toLowerCase())?.[1];
}

const decimal = /^(\d{1,16})(?:\.(\d{1,9}))?\s?([A-Za-z]*)$/;

/** `0` and `none` are 0: no limit. Fractions of a byte are rounded; what would be 0 by that is refused. */
function parseQuantity(text: string, max: number, ...families: (typeof bytesPer)[]): number {
  if (isNone(text)) return 0;
  const withBits = families.includes(bitsPer);
  const known = withBits ? `${byteUnits}, and bits: ${bitUnits}` : byteUnits;
  const example = withBits ? '100Mbit or 10MiB' : '10MiB or 10MB';
  const match = decimal.exec(text);
  if (match === null) throw new BadValue(`takes an amount such as ${example}, and not ${quote(text)}`);
  const [, whole = '', fraction = '', unit = ''] = match;
  for (const family of families) {
    const factor = unitIn(family, unit);
    if (factor === undefined) continue;
    const scale = 10n ** BigInt(fraction.length) * (family === bitsPer ? 8n : 1n);
    const scaled = BigInt(whole + fraction) * factor;
    const bytes = Number((scaled + scale / 2n) / scale);
    if (bytes > max) throw new BadValue(`is more than can be kept: ${text}, and ${max} bytes are the most`);
    if (bytes === 0)
      throw new BadValue(`is less than a byte: ${text}; write none where there is to be no limit`);
    return bytes;
  }
  const number = fraction === '' ? whole : `${whole}.${fraction}`;
  if (unit === '') throw new BadValue(`needs a unit: ${number}MiB or ${number}MB; known are ${known}`);
  throw new BadValue(`knows the units ${known}, and not ${quote(unit)}`);
}

function isNone(text: string): boolean {
  return text === 'none' || /^0+$/.test(text);
}

const mostBytes = Number.MAX_SAFE_INTEGER;
const mostNetworkBytes = 1_000_000_000_000;

/** `10MiB`, `10MB/s`, `80Mbit` in bytes a second. */
export function parseByteRate(text: string): number {
  return parseQuantity(withoutPer(text), mostBytes, bytesPer, bitsPer);
}

/** As `parseByteRate`, up to what tc counts. */
export function parseNetworkRate(text: string): number {
  return parseQuantity(withoutPer(text), mostNetworkBytes, bytesPer, bitsPer);
}

export function parseBurstBytes(text: string): number {
  return parseQuantity(text, 4_000_000_000, bytesPer);
}

/** `10MiB/s` is `10MiB`. */
function withoutPer(text: string): string {
  return text.replace(/\/s$/, '');
}

export function parseCount(text: string, max: number): number {
  if (text === 'none') return 0;
  if (!/^\d{1,16}$/.test(text)) throw new BadValue(`takes a whole number, and not ${quote(text)}`);
  const value = Number(text);
  if (value > max) throw new BadValue(`must be from 0 to ${max}, and is ${text}`);
  return value;
}

/** `2`, `0.5` cores. */
export function parseCores(text: string): number {
  if (text === 'none') return 0;
  if (!/^\d{1,4}(\.\d{1,6})?$/.test(text))
    throw new BadValue(`takes a number of cores such as 2 or 0.5, without a unit, and not ${quote(text)}`);
  const value = Number(text);
  if (value > 4096) throw new BadValue(`must be from 0 to 4096 cores, and is ${text}`);
  return value;
}

const microsecondsPer: ReadonlyMap<string, number> = new Map([
  ['us', 1],
  ['ms', 1000],
  ['s', 1_000_000],
]);

/** `50ms`, `0.2s`, `500us` in milliseconds, to the microsecond. */
export function parseMilliseconds(text: string): number {
  if (isNone(text)) return 0;
  const match = decimal.exec(text);
  const factor = microsecondsPer.get(match?.[3] ?? '');
  if (match === null) throw new BadValue(`takes a time such as 50ms, and not ${quote(text)}`);
  if (factor === undefined)
    throw new BadValue(
      match[3] === ''
        ? `needs a unit: ${text}ms or ${text}s`
        : `knows the units us, ms and s, and not ${quote(match[3] ?? '')}`,
    );
  const microseconds = Math.round(Number(`${match[1]}.${match[2] ?? 0}`) * factor);
  if (microseconds === 0) throw new BadValue(`is less than a microsecond: ${text}`);
  if (microseconds > 409_600_000) throw new BadValue(`must be 409.6 s at most, and is ${text}`);
  return microseconds / 1000;
}

/** `512M`, `2GiB` in MiB; `none` and `0` are 0. */
export function parseMibOrNone(text: string, max: number): number {
  if (isNone(text)) return 0;
  const mib = parseMib(text);
  if (mib > max) throw new BadValue(`must be ${max} MiB at most, and is ${text}`);
  return mib;
}

export function parseSwitch(text: string): boolean {
  if (text !== 'on' && text !== 'off') throw new BadValue(`takes on or off, and not ${quote(text)}`);
  return text === 'on';
}

export interface RateValue {
  readonly rate: number;
  readonly burst?: number;
  readonly burstSeconds?: number;
}

/** `10MiB`, `10MiB:50MiB`, `10MiB:50MiB/10s`: the rate, that of a burst, and how long it may last. */
export function parseRate(text: string, parseOne: (text: string) => number): RateValue {
  const [rateText = '', burstText, ...more] = text.split(':');
  if (more.length > 0) throw new BadValue(`takes RATE:BURST/LENGTH, and not ${quote(text)}`);
  const rate = parseOne(rateText);
  if (burstText === undefined) return { rate };
  if (rate === 0) throw new BadValue('has a burst and no rate: a burst is above a limit');
  const match = /^([^/]+(?:\/s)?)(?:\/(\d[^/]*))?$/.exec(burstText);
  if (match === null)
    throw new BadValue(`takes a burst such as 50MiB/10s after the colon, and not ${quote(burstText)}`);
  const burst = parseOne(match[1] ?? '');
  if (burst < rate) throw new BadValue(`has a burst below its rate: ${burstText} beside ${rateText}`);
  return { rate, burst, ...(match[2] === undefined ? {} : { burstSeconds: parseLength(match[2]) }) };
}

const secondsPer: ReadonlyMap<string, number> = new Map([
  ['s', 1],
  ['m', 60],
  ['h', 3600],
]);

function parseLength(text: string): number {
  const match = /^(\d{1,6})([a-z]*)$/.exec(text);
  const factor = secondsPer.get(match?.[2] ?? '');
  if (match === null || factor === undefined)
    throw new BadValue(`has a burst that lasts for whole seconds such as 10s, and not ${quote(text)}`);
  const seconds = Number(match[1]) * factor;
  if (seconds < 1 || seconds > 86_400) throw new BadValue(`has a burst of 1s to 24h, and not ${text}`);
  return seconds;
}

/** In the unit that makes it shortest and is exact; of networks in bits, where those are few digits. */
export function byteRateText(bytes: number, prefer: 'bytes' | 'bits' = 'bytes'): string {
  if (bytes === 0) return 'none';
  const value = BigInt(Math.round(bytes));
  const inBits = shortest(bitsPer, value * 8n);
  if (prefer === 'bits' && digitsOf(inBits) <= 4) return inBits;
  return shortest(bytesPer, value);
}

/** Of units that are exact; the smallest one always is. */
function shortest(units: ReadonlyMap<string, bigint>, amount: bigint): string {
  const exact = [...units].flatMap(([unit, factor]) =>
    amount % factor === 0n ? [`${amount / factor}${unit}`] : [],
  );
  return exact.reduce((best, each) => (digitsOf(each) < digitsOf(best) ? each : best));
}

function digitsOf(text: string): number {
  return text.replace(/\D/g, '').length;
}

export function coresText(cores: number): string {
  return cores === 0 ? 'none' : String(Math.round(cores * 1e6) / 1e6);
}

export function millisecondsText(ms: number): string {
  if (ms === 0) return 'none';
  if (ms % 1000 === 0) return `${ms / 1000}s`;
  const microseconds = Math.round(ms * 1000);
  return microseconds % 1000 === 0 ? `${microseconds / 1000}ms` : `${microseconds}us`;
}

/** Without the space of `mibText`, as it is typed. */
export function mibValueText(mib: number): string {
  return mib === 0 ? 'none' : mibText(mib).replace(' ', '');
}

export function countText(count: number): string {
  return count === 0 ? 'none' : String(count);
}

export function rateValueText({ rate, burst, burstSeconds }: RateValue, one: (n: number) => string): string {
  const length = burstSeconds === undefined ? '' : `/${burstSeconds}s`;
  return burst === undefined ? one(rate) : `${one(rate)}:${one(burst)}${length}`;
}
