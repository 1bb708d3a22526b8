// A model of how the kernel takes a script: refuses what nft would refuse (something used that is not there, or taken away while it is used), and
// gives the tables that come out.
interface ModelTable {
  readonly counters: Set<string>;
  readonly sets: Map<string, { readonly definition: string; readonly elements: Map<string, string> }>;
  readonly chains: Map<string, { readonly hook: string; readonly rules: string[] }>;
}

export type Model = Map<string, ModelTable>;

function fail(line: string, why: string): never {
  throw new Error(`${why}: ${line}`);
}

function there<T>(value: T | undefined, line: string): T {
  return value ?? fail(line, 'is not there');
}

/** Names that a rule or a verdict uses. */
function uses(text: string): { chains: string[]; sets: string[]; counters: string[] } {
  const all = (pattern: RegExp): string[] => [...text.matchAll(pattern)].map(([, name = '']) => name);
  return {
    chains: all(/\b(?:jump|goto) ([\w-]+)/g),
    sets: all(/@([a-z]\w*[\w-]*)(?!,|\w)/g).filter((name) => name !== 'th'),
    counters: all(/counter name "([^"]+)"/g),
  };
}

function textsOf(table: ModelTable): string[] {
  return [
    ...[...table.chains.values()].flatMap(({ rules }) => rules),
    ...[...table.sets.values()].flatMap(({ elements }) => [...elements.values()]),
  ];
}

function isUsed(table: ModelTable, kind: 'chains' | 'sets' | 'counters', name: string): boolean {
  return textsOf(table).some((text) => uses(text)[kind].includes(name));
}

function checkUses(table: ModelTable, text: string, line: string): void {
  const { chains, sets, counters } = uses(text);
  for (const name of chains) if (!table.chains.has(name)) fail(line, `chain ${name} is not there`);
  for (const name of sets) if (!table.sets.has(name)) fail(line, `set ${name} is not there`);
  for (const name of counters) if (!table.counters.has(name)) fail(line, `counter ${name} is not there`);
}

export function runInModel(model: Model, script: string): void {
  for (const line of script.split('\n')) if (line !== '') runLine(model, line);
}

const statement =
  /^(add|delete|flush) (table|counter|set|map|element|chain|rule) (inet|bridge) (\S+) ?(\S+)? ?(.*)$/;

function runLine(model: Model, line: string): void {
  const [, verb = '', kind = '', family = '', table = '', name = '', rest = ''] = there(
    statement.exec(line) ?? undefined,
    line,
  );
  const key = `${family} ${table}`;
  if (kind === 'table') {
    if (verb === 'delete') model.delete(there(model.has(key) ? key : undefined, line));
    else if (!model.has(key)) model.set(key, { counters: new Set(), sets: new Map(), chains: new Map() });
    return;
  }
  const at = there(model.get(key), line);
  if (verb === 'add') add(at, kind, name, rest, line);
  else if (kind === 'element') changeElements(at, name, rest, 'delete', line);
  else if (verb === 'flush') there(at.chains.get(name), line).rules.length = 0;
  else remove(at, kind, name, line);
}

function add(table: ModelTable, kind: string, name: string, rest: string, line: string): void {
  const inner = rest.replace(/^\{ /, '').replace(/ \}$/, '');
  if (kind === 'counter') table.counters.add(name);
  else if (kind === 'element') changeElements(table, name, rest, 'add', line);
  else if (kind === 'rule') {
    checkUses(table, rest, line);
    there(table.chains.get(name), line).rules.push(rest);
  } else if (kind === 'chain') table.chains.set(name, { hook: inner, rules: [] });
  else table.sets.set(name, { definition: inner, elements: new Map() });
}

function remove(table: ModelTable, kind: string, name: string, line: string): void {
  const place = kind === 'chain' ? 'chains' : kind === 'counter' ? 'counters' : 'sets';
  if (isUsed(table, place, name)) fail(line, 'is in use');
  if (!table[place].delete(name)) fail(line, 'is not there');
}

function changeElements(
  table: ModelTable,
  name: string,
  rest: string,
  verb: 'add' | 'delete',
  line: string,
): void {
  const { elements } = there(table.sets.get(name), line);
  for (const element of rest.replace(/^\{ /, '').replace(/ \}$/, '').split(', ')) {
    const [key = '', value = ''] = element.split(' : ');
    if (verb === 'delete') {
      if (!elements.delete(key)) fail(line, `${key} is not there`);
      continue;
    }
    if (elements.has(key)) fail(line, `${key} is there with ${elements.get(key)}`);
    checkUses(table, value, line);
    elements.set(key, value);
  }
}

/** In a form that can be compared. */
export function modelText(model: Model): string {
  const lines: string[] = [];
  for (const [key, { counters, sets, chains }] of [...model].sort(byName)) {
    lines.push(key, ...[...counters].sort());
    for (const [name, { definition, elements }] of [...sets].sort(byName))
      lines.push(`${name} ${definition}`, ...Array.from(elements, (each) => each.join(' : ')).sort());
    for (const [name, { hook, rules }] of [...chains].sort(byName)) lines.push(`${name} ${hook}`, ...rules);
  }
  return lines.join('\n');
}

function byName([one]: readonly [string, unknown], [other]: readonly [string, unknown]): number {
  return one < other ? -1 : 1;
}
