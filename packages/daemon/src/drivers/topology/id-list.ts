// Lists of numbers as the kernel writes them: `0-3,8,10-11` (Documentation/core-api, "%*pbl"). Empty is none.

/** Ascending, none twice. What is no such list is undefined: half of a list would be a wrong one. */
export function parseIdList(text: string): readonly number[] | undefined {
  const ids = new Set<number>();
  for (const part of text.trim().split(',')) {
    if (part === '') continue;
    const [, first, last = first] = /^(\d{1,6})(?:-(\d{1,6}))?$/.exec(part) ?? [];
    if (first === undefined) return undefined;
    for (let id = Number(first); id <= Number(last); id += 1) ids.add(id);
  }
  return [...ids].toSorted((a, b) => a - b);
}
