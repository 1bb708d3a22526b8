// Reads what `nft -s list table` prints, as far as is needed to tell whether two listings say the same: blocks by name, their elements
// and their lines. Elements that the kernel adds by itself (dynamic sets) and the order of blocks do not count. Pure.
import type { NftSet, NftTable } from './nft-table.ts';

export interface ListedBlock {
  /** Sorted, in nft's own form. */
  readonly elements: readonly string[];
  /** All other lines, in order. */
  readonly lines: readonly string[];
}

/** By kind and name, `chain forward`. */
export type Listing = ReadonlyMap<string, ListedBlock>;

/** As a listing has to be; of elements that nft words in a way that is not known, their number. */
export type ExpectedListing = ReadonlyMap<
  string,
  { readonly elements: readonly string[] | number; readonly lines: readonly string[] }
>;

const blockHead = /^(set|map|chain|counter|limit) (\S+) \{/;

export function parseListing(text: string): Listing {
  const blocks = new Map<string, ListedBlock>();
  let name: string | undefined;
  let lines: string[] = [];
  let elements: string[] | undefined;
  for (const raw of text.split('\n')) {
    const line = raw.trim();
    if (name === undefined) {
      const head = blockHead.exec(line);
      if (head !== null) name = `${head[1]} ${head[2]}`;
      lines = [];
      elements = undefined;
    } else if (elements?.at(-1)?.endsWith('}') === false) elements.push(line);
    else if (line.startsWith('elements = {')) elements = [line];
    else if (line === '}') {
      blocks.set(name, { lines, elements: splitElements(elements, lines) });
      name = undefined;
    } else if (line !== '') lines.push(line);
  }
  return blocks;
}

function splitElements(parts: readonly string[] | undefined, lines: readonly string[]): string[] {
  if (parts === undefined || lines.some((line) => /^flags .*dynamic/.test(line))) return [];
  const text = parts.join(' ');
  const inner = text.slice(text.indexOf('{') + 1, text.lastIndexOf('}'));
  return inner
    .split(',')
    .map((element) => element.trim().replaceAll(/\s+/g, ' '))
    .sort();
}

const sampleSize = 32;

/** The table with few elements in each set, to be listed once: what nft says of those it says of all. */
export function sampleOf(table: NftTable): NftTable {
  const sets = Array.from(table.sets, ([name, set]) => {
    const some = isInterval(set) ? set.elements : new Map([...set.elements].slice(0, sampleSize));
    return [name, { ...set, elements: some }] as const;
  });
  return { ...table, sets: new Map(sets) };
}

/** How the table has to be listed; `sample` is the listing of its sample. */
export function expectedListing(table: NftTable, sample: Listing): ExpectedListing {
  const expected = new Map<string, { elements: readonly string[] | number; lines: readonly string[] }>(
    sample,
  );
  const small = sampleOf(table);
  for (const [name, set] of table.sets) {
    const block = `${set.kind} ${name}`;
    const listed = sample.get(block);
    if (listed === undefined || set.elements.size === listed.elements.length) continue;
    const isForeseen = same(listed.elements, worded(small.sets.get(name) ?? set));
    expected.set(block, { ...listed, elements: isForeseen ? worded(set) : set.elements.size });
  }
  return expected;
}

function isInterval({ definition }: NftSet): boolean {
  return definition.includes('interval');
}

/** Elements in the form in which nft lists them. */
function worded({ definition, elements }: NftSet): string[] {
  const after = / counter;/.test(definition) ? ' counter' : '';
  return Array.from(elements, ([key, value]) => `${key}${after}${value === '' ? '' : ` : ${value}`}`).sort();
}

/** A sentence about the first thing that differs, undefined where nothing does. */
export function listingDiffers(expected: ExpectedListing, found: Listing): string | undefined {
  for (const [name, block] of expected) {
    const other = found.get(name);
    if (other === undefined) return `${name} is gone`;
    if (!same(block.lines, other.lines)) return `the rules of ${name} were changed`;
    const hasElements =
      typeof block.elements === 'number'
        ? block.elements === other.elements.length
        : same(block.elements, other.elements);
    if (!hasElements) return `the elements of ${name} were changed`;
  }
  for (const name of found.keys()) if (!expected.has(name)) return `${name} was added`;
  return undefined;
}

/** Whether a listing can be that of the table, by names and numbers. nft words what it lists in its own way. */
export function listingFits(table: NftTable, found: Listing): string | undefined {
  const names = new Map<string, { elements?: number; rules?: number }>([
    ...Array.from(table.counters, (name) => [`counter ${name}`, {}] as const),
    ...Array.from(table.limits?.keys() ?? [], (name) => [`limit ${name}`, {}] as const),
    ...Array.from(
      table.sets,
      ([name, { kind, elements }]) => [`${kind} ${name}`, { elements: elements.size }] as const,
    ),
    ...Array.from(
      table.chains,
      ([name, { hook, rules }]) =>
        [`chain ${name}`, { rules: rules.length + (hook === undefined ? 0 : 1) }] as const,
    ),
  ]);
  for (const [name, { elements, rules }] of names) {
    const block = found.get(name);
    if (block === undefined) return `${name} is gone`;
    if (rules !== undefined && block.lines.length !== rules) return `the rules of ${name} were changed`;
    if (elements !== undefined && block.elements.length !== elements)
      return `the elements of ${name} were changed`;
  }
  for (const name of found.keys()) if (!names.has(name)) return `${name} was added`;
  return undefined;
}

function same(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((line, at) => line === other[at]);
}
