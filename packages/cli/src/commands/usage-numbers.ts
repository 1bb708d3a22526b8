/** Numbers in few columns, for `wirt top`. */
import type { TopCell } from './usage-row.ts';

/** `1.2M`: five columns at most, in powers of 1024. */
export function shortBytes(bytes: number): string {
  if (bytes < 0.5) return '0';
  const units = ['', 'K', 'M', 'G', 'T', 'P'];
  let [value, at] = [bytes, 0];
  while (value >= 999.5 && at < units.length - 1) [value, at] = [value / 1024, at + 1];
  return `${at === 0 || value >= 9.95 ? Math.round(value) : value.toFixed(1)}${units[at]}`;
}

/** `512M`, `1.5G`. */
export function shortMib(mib: number): string {
  return mib < 0.05 ? '0M' : shortBytes(mib * 1024 ** 2);
}

/** A share of time as a whole percentage: from a tenth on it is worth a look, from a half on it hurts. */
export function percent(share: number | undefined): TopCell {
  if (share === undefined) return { text: '-', tone: 'dim' };
  const text = String(Math.round(share * 100));
  if (share < 0.1) return { text };
  return { text, tone: share >= 0.5 ? 'bad' : 'warn' };
}

/** `0.50/2.0`; what is nearly at its limit is marked. */
export function besideLimit(
  used: number,
  limit: number | undefined,
  text: (value: number) => string,
  limitText: (value: number) => string = text,
): TopCell {
  const both = `${text(used)}/${limit === undefined ? '-' : limitText(limit)}`;
  return limit !== undefined && used >= 0.9 * limit ? { text: both, tone: 'warn' } : { text: both };
}
