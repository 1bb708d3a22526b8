/** Reads and writes quantities as people write them: `2G`, `90s`, `k=v`. What is ambiguous is refused, with the reason. */

/** Thrown with the end of a sentence that begins with the option's name. */
export class BadValue extends Error {
  override readonly name = 'BadValue';
}

const mibPerUnit: ReadonlyMap<string, number> = new Map([
  ['m', 1],
  ['g', 1024],
  ['t', 1_048_576],
]);

/** `512M`, `2G`, `1.5G`, `1024MiB` in MiB. Powers of 1024 only; the unit is required. */
export function parseMib(text: string): number {
  const match = /^(\d{1,9}(?:\.\d{1,6})?)\s?([a-z]*)$/i.exec(text);
  const unit = match?.[2]?.toLowerCase() ?? '';
  if (match === null) throw new BadValue(`takes a size such as 512M or 2G, and not ${quote(text)}`);
  if (unit === '') throw new BadValue(`needs a unit: ${text}M or ${text}G`);
  if (/^[mgt]b$/.test(unit))
    throw new BadValue(
      `counts in powers of 1024: write ${match[1]}${unit[0]?.toUpperCase()} or ${match[1]}${unit[0]?.toUpperCase()}iB`,
    );
  const factor = /^[mgt](ib)?$/.test(unit) ? mibPerUnit.get(unit[0] ?? '') : undefined;
  if (factor === undefined)
    throw new BadValue(`knows the units M, G and T, and not ${quote(match[2] ?? '')}`);
  const mib = Number(match[1]) * factor;
  if (!Number.isInteger(mib)) throw new BadValue(`must be whole MiB, and ${text} is not`);
  return mib;
}

const bytesPerUnit: ReadonlyMap<string, number> = new Map([
  ['b', 1],
  ['k', 1024],
  ['m', 1024 ** 2],
  ['g', 1024 ** 3],
  ['t', 1024 ** 4],
]);

const sectorBytes = 512;

/** A disk's size in bytes: `512M`, `10G`, `1.5TiB`, `1048576B`. Powers of 1024 only; the unit is required, and whole sectors. */
export function parseBytes(text: string): number {
  const match = /^(\d{1,15}(?:\.\d{1,9})?)\s?([a-z]*)$/i.exec(text);
  const unit = match?.[2]?.toLowerCase() ?? '';
  if (match === null) throw new BadValue(`takes a size such as 512M or 10G, and not ${quote(text)}`);
  if (unit === '') throw new BadValue(`needs a unit: ${text}M or ${text}G`);
  const letter = unit[0] ?? '';
  if (/^[kmgt]b$/.test(unit)) {
    const number = match[1];
    throw new BadValue(
      `counts in powers of 1024: write ${number}${letter.toUpperCase()} or ${number}${letter.toUpperCase()}iB`,
    );
  }
  const factor = /^(b|[kmgt](ib)?)$/.test(unit) ? bytesPerUnit.get(letter) : undefined;
  if (factor === undefined)
    throw new BadValue(`knows the units B, K, M, G and T, and not ${quote(match[2] ?? '')}`);
  const bytes = Number(match[1]) * factor;
  if (bytes < sectorBytes || bytes % sectorBytes !== 0)
    throw new BadValue(`must be whole sectors of ${sectorBytes} bytes, and ${text} is not`);
  if (!Number.isSafeInteger(bytes)) throw new BadValue(`is larger than a disk can be: ${text}`);
  return bytes;
}

const secondsPerUnit: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['s', 1],
  ['m', 60],
  ['h', 3600],
]);

/** `30`, `30s`, `2m`, `1h` in seconds. */
export function parseSeconds(text: string): number {
  const match = /^(\d{1,9})([a-z]*)$/i.exec(text);
  const factor = secondsPerUnit.get(match?.[2]?.toLowerCase() ?? '?');
  if (match === null || factor === undefined)
    throw new BadValue(`takes a time such as 30, 30s or 2m, and not ${quote(text)}`);
  return Number(match[1]) * factor;
}

export function parseInteger(text: string, min: number, max: number): number {
  if (!/^\d{1,15}$/.test(text)) throw new BadValue(`takes a whole number, and not ${quote(text)}`);
  const value = Number(text);
  if (value < min || value > max) throw new BadValue(`must be from ${min} to ${max}, and is ${value}`);
  return value;
}

/** `key=value`; the value may be empty and may hold more `=`. */
export function parsePair(text: string): [key: string, value: string] {
  const at = text.indexOf('=');
  if (at < 1) throw new BadValue(`takes KEY=VALUE, and not ${quote(text)}`);
  return [text.slice(0, at), text.slice(at + 1)];
}

/** A control key: `ctrl-]`, `^]`, `C-a`. Gives its byte. */
export function parseControlKey(text: string): number {
  const match = /^(?:ctrl-|c-|\^)([@-_a-z])$/i.exec(text);
  if (match === null) throw new BadValue(`takes a control key such as ctrl-] or ^a, and not ${quote(text)}`);
  // The lower five bits of the character are the control key (ASCII).
  return (match[1]?.toUpperCase().charCodeAt(0) ?? 0) & 0x1f;
}

export function quote(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}

/** `512 MiB`, `2 GiB`. */
export function mibText(mib: number): string {
  if (mib >= 1_048_576 && mib % 1_048_576 === 0) return `${mib / 1_048_576} TiB`;
  return mib >= 1024 && mib % 1024 === 0 ? `${mib / 1024} GiB` : `${mib} MiB`;
}

/** `10 GiB`, where that is exact; else rounded, as `1.4 GiB`. For sizes that were asked for. */
export function sizeText(bytes: number): string {
  const whole = [...bytesPerUnit].findLast(([, factor]) => bytes >= factor && bytes % factor === 0);
  if (whole === undefined || bytes / whole[1] >= 10_000) return bytesText(bytes);
  return `${bytes / whole[1]} ${whole[0] === 'b' ? 'B' : `${whole[0].toUpperCase()}iB`}`;
}

/** `1.4 GiB`: rounded, for what is measured. */
export function bytesText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let at = 0;
  while (value >= 1024 && at < units.length - 1) [value, at] = [value / 1024, at + 1];
  return `${at === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[at]}`;
}

/** `4 s`, `12 min`, `3 h`, `9 d`: the largest unit only. */
export function durationText(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 90) return `${seconds} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 36 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

/** How long ago an RFC 3339 time was. */
export function ageText(time: string, nowMs: number): string {
  const at = Date.parse(time);
  return Number.isNaN(at) ? '?' : durationText(nowMs - at);
}
