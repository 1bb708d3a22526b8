/**
 * The kernel's list format of processors and nodes ("0-3,8,10-11"), as cpusets, `taskset -c` and /sys use it. Strict: what is not exactly that, or
 * names more than any host has, is no list. The kernel's strides ("0-31:2/4") are not taken: nothing that is read here has them.
 */

/** Above what Linux supports on any processor (NR_CPUS is 8192 on x86 at most). */
const maxIds = 65_536;
const maxText = 1 << 20;

/** The numbers, ascending and each once; undefined where the text is no list. The empty text is the empty list. */
export function parseCpuList(text: string): number[] | undefined {
  if (text.length > maxText) return undefined;
  const line = text.endsWith('\n') ? text.slice(0, -1) : text;
  if (line === '') return [];
  const found = new Set<number>();
  for (const part of line.split(',')) {
    const range = parseRange(part);
    if (range === undefined) return undefined;
    for (let id = range.first; id <= range.last; id++) found.add(id);
  }
  return [...found].sort((a, b) => a - b);
}

function parseRange(part: string): { readonly first: number; readonly last: number } | undefined {
  const match = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(part);
  if (match === null) return undefined;
  const first = Number(match[1]);
  const last = match[2] === undefined ? first : Number(match[2]);
  return first <= last && last < maxIds ? { first, last } : undefined;
}

/** The shortest text for the numbers, in whatever order they come. */
export function printCpuList(ids: readonly number[]): string {
  const sorted = [...new Set(ids)].sort((a, b) => a - b);
  const parts: string[] = [];
  let first: number | undefined;
  for (const [at, id] of sorted.entries()) {
    first ??= id;
    if (sorted[at + 1] === id + 1) continue;
    parts.push(first === id ? `${id}` : `${first}-${id}`);
    first = undefined;
  }
  return parts.join(',');
}
