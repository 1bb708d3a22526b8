// An nftables table as a keyed structure, the nft script that makes it whole, and the script that turns one into another. Pure; scripts are
// for one transaction of `nft -f -`, and their order is such that nothing is used before it is there or after it is gone.

export type NftFamily = 'inet' | 'bridge';

export interface NftSet {
  readonly kind: 'set' | 'map';
  /** What nft wants between the braces: `type ipv4_addr; flags interval;`. */
  readonly definition: string;
  /** By key, in nft's own form; the value is '' in sets. */
  readonly elements: ReadonlyMap<string, string>;
  /** The kernel adds elements by itself. */
  readonly dynamic?: true;
}

export interface NftChain {
  /** `type filter hook forward priority 0; policy accept;` of a base chain. */
  readonly hook?: string;
  readonly rules: readonly string[];
}

export interface NftTable {
  readonly family: NftFamily;
  readonly name: string;
  /** Named counters, which live on when the rules that use them are replaced. */
  readonly counters: ReadonlySet<string>;
  /** Named limits, by what they say. One that says something else has another name: the kernel does not change any. */
  readonly limits?: ReadonlyMap<string, string>;
  readonly sets: ReadonlyMap<string, NftSet>;
  readonly chains: ReadonlyMap<string, NftChain>;
}

const elementsPerStatement = 256;

/** Makes the table whole, whatever is there under its name. */
export function replaceScript(table: NftTable): string {
  const { family, name } = table;
  const fresh: NftTable = { family, name, counters: new Set(), sets: new Map(), chains: new Map() };
  // Adding first makes deleting pass where there is none.
  return `add table ${family} ${name}\ndelete table ${family} ${name}\nadd table ${family} ${name}\n${changeScript(fresh, table)}`;
}

export function removeScript({ family, name }: Pick<NftTable, 'family' | 'name'>): string {
  return `add table ${family} ${name}\ndelete table ${family} ${name}\n`;
}

/** Turns `old` into `next`; empty when they are the same. Counters that are in both keep what they counted. */
export function changeScript(old: NftTable, next: NftTable): string {
  if (redefines(old, next)) return replaceScript(next);
  const table = `${next.family} ${next.name}`;
  const lines: string[] = [];
  for (const name of next.counters) if (!old.counters.has(name)) lines.push(`add counter ${table} ${name}`);
  for (const [name, limit] of next.limits ?? [])
    if (!old.limits?.has(name)) lines.push(`add limit ${table} ${name} { ${limit} }`);
  for (const [name, { kind, definition }] of next.sets)
    if (!old.sets.has(name)) lines.push(`add ${kind} ${table} ${name} { ${definition} }`);
  for (const [name, { hook }] of next.chains)
    if (!old.chains.has(name))
      lines.push(`add chain ${table} ${name}${hook === undefined ? '' : ` { ${hook} }`}`);

  // Chains that go are emptied before what they use goes; map elements that lead to them go before they do.
  const gone = [...old.chains.keys()].filter((name) => !next.chains.has(name));
  for (const name of gone) lines.push(`flush chain ${table} ${name}`);
  for (const [name, { rules }] of next.chains) {
    const before = old.chains.get(name)?.rules ?? [];
    if (sameRules(before, rules)) continue;
    if (before.length > 0) lines.push(`flush chain ${table} ${name}`);
    for (const rule of rules) lines.push(`add rule ${table} ${name} ${rule}`);
  }
  for (const [name, set] of next.sets)
    lines.push(...elementChanges(`${table} ${name}`, old.sets.get(name), set));
  const goneSets = [...old.sets].filter(([name]) => !next.sets.has(name));
  for (const [name, { kind }] of goneSets) lines.push(`delete ${kind} ${table} ${name}`);
  for (const name of gone) lines.push(`delete chain ${table} ${name}`);
  for (const name of old.counters)
    if (!next.counters.has(name)) lines.push(`delete counter ${table} ${name}`);
  for (const name of old.limits?.keys() ?? [])
    if (!next.limits?.has(name)) lines.push(`delete limit ${table} ${name}`);
  return lines.map((line) => `${line}\n`).join('');
}

/** Whether something under the same name is of another make: nft cannot change that in place. */
function redefines(old: NftTable, next: NftTable): boolean {
  for (const [name, set] of next.sets) {
    const before = old.sets.get(name);
    if (before !== undefined && (before.kind !== set.kind || before.definition !== set.definition))
      return true;
  }
  for (const [name, chain] of next.chains) {
    const before = old.chains.get(name);
    if (before !== undefined && before.hook !== chain.hook) return true;
  }
  return false;
}

function elementChanges(set: string, old: NftSet | undefined, next: NftSet): string[] {
  if (old === next) return [];
  const before = old?.elements ?? new Map<string, string>();
  const removed: string[] = [];
  const added: string[] = [];
  // Most changes are of one element among thousands.
  for (const [key, value] of before) if (next.elements.get(key) !== value) removed.push(key);
  for (const [key, value] of next.elements)
    if (before.get(key) !== value) added.push(value === '' ? key : `${key} : ${value}`);
  return [
    ...inPieces(removed).map((keys) => `delete element ${set} { ${keys} }`),
    ...inPieces(added).map((elements) => `add element ${set} { ${elements} }`),
  ];
}

function inPieces(elements: readonly string[]): string[] {
  const pieces: string[] = [];
  for (let at = 0; at < elements.length; at += elementsPerStatement)
    pieces.push(elements.slice(at, at + elementsPerStatement).join(', '));
  return pieces;
}

function sameRules(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((rule, at) => rule === other[at]);
}
