/** The order of versions in a catalogue: dates with what follows them (`20240423`, `20240423.1`, `20240101_05:24`). Pure. */

export function isVersion(version: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._:~+-]{0,63}$/.test(version);
}

/** Runs of digits, which count as numbers, and of what is between them. */
const parts = (version: string): string[] => version.match(/\d+|\D+/g) ?? [];

/** Negative when `a` is older than `b`; 0 only for the same text. */
export function compareVersions(a: string, b: string): number {
  const left = parts(a);
  const right = parts(b);
  for (let at = 0; at < Math.max(left.length, right.length); at += 1) {
    const difference = comparePart(left[at] ?? '', right[at] ?? '');
    if (difference !== 0) return difference;
  }
  return compareText(a, b);
}

export function newerVersion(a: string, b: string): boolean {
  return compareVersions(a, b) > 0;
}

function comparePart(a: string, b: string): number {
  if (!/^\d/.test(a) || !/^\d/.test(b)) return compareText(a, b);
  // Numbers of any length, without rounding: the longer is greater, then the text decides.
  const [left, right] = [a.replace(/^0+/, ''), b.replace(/^0+/, '')];
  return left.length - right.length || compareText(left, right);
}

function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
