/** What people see of nodes and processors. Readable on the largest hosts: processors are ranges, nodes alike are told together. */
import type { HostTopologyView } from '@wirt/api';
import { printCpuList } from '@wirt/api/cpu-list';
import type { View } from '../print.ts';
import type { Block } from '../table.ts';
import { bytesText, mibText } from '../units.ts';

type Node = HostTopologyView['nodes'][number];
type Cpu = HostTopologyView['cpus'][number];

export function topologyView(found: HostTopologyView): View {
  return {
    data: found,
    names: found.nodes.map(({ node }) => String(node)),
    table: () => [nodeBlock(found.nodes), socketBlock(found.cpus)],
  };
}

function nodeBlock(nodes: readonly Node[]): Block {
  return {
    kind: 'table',
    columns: ['NODE', 'CPUS', 'MEMORY', 'FREE', 'DISTANCES', 'HUGE PAGES', 'INSTANCES'],
    rows: nodes.map((each) => [
      String(each.node),
      each.cpus === '' ? 'none' : each.cpus,
      amount(each.totalMib),
      amount(each.freeMib),
      distancesText(each.distances),
      pagesText(each.hugePages),
      namesText(each.instances),
    ]),
    empty: 'No nodes are known.',
  };
}

function amount(mib: number): string {
  return bytesText(mib * 1_048_576);
}

/** `10 to 0, 21 to 1-3`: which nodes are how far. */
function distancesText(distances: Node['distances']): string {
  const byDistance = Map.groupBy(distances, ({ distance }) => distance);
  return (
    [...byDistance]
      .toSorted(([a], [b]) => a - b)
      .map(([distance, nodes]) => `${distance} to ${printCpuList(nodes.map(({ node }) => node))}`)
      .join(', ') || '-'
  );
}

function pagesText(pools: Node['hugePages']): string {
  const texts = pools.flatMap(({ sizeKib, total, free }) =>
    total === 0 ? [] : [`${total} of ${mibText(sizeKib / 1024)} (${free} free)`],
  );
  return texts.join(', ') || '-';
}

const shownNames = 5;

function namesText(names: readonly string[]): string {
  if (names.length === 0) return '-';
  const more = names.length - shownNames;
  return `${names.slice(0, shownNames).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

/** One row for each socket of each node. */
function socketBlock(cpus: readonly Cpu[]): Block {
  const groups = Map.groupBy(cpus, ({ node, socket }) => `${node}/${socket}`);
  const rows = [...groups.values()].flatMap((members) => {
    const [first] = members;
    if (first === undefined) return [];
    const cores = [...Map.groupBy(members, ({ core }) => core).values()].map((threads) =>
      threads.map(({ cpu }) => cpu).toSorted((a, b) => a - b),
    );
    return [
      [
        String(first.node),
        String(first.socket),
        String(cores.length),
        threadsText(cores),
        coresText(cores),
        aloneText(members),
      ],
    ];
  });
  const columns = ['NODE', 'SOCKET', 'CORES', 'THREADS', 'CPUS BY CORE', 'FOR ONE GUEST ALONE'];
  return { kind: 'table', columns, rows, empty: '' };
}

type Cores = readonly (readonly number[])[];

function threadsText(cores: Cores): string {
  const counts = [...new Set(cores.map(({ length }) => length))].toSorted((a, b) => a - b);
  return counts.length === 1 ? String(counts[0]) : `${counts[0]} to ${counts.at(-1)}`;
}

const [shownCores, shownOfMany] = [8, 3];

/** `0+4 1+5 2+6 … 3+7`; where cores have one thread, their processors as ranges. */
function coresText(cores: Cores): string {
  const ordered = cores.toSorted(([a = 0], [b = 0]) => a - b);
  if (ordered.every(({ length }) => length === 1)) return printCpuList(ordered.flat());
  const texts = ordered.map((threads) => threads.join('+'));
  if (texts.length <= shownCores) return texts.join(' ');
  return `${texts.slice(0, shownOfMany).join(' ')} … ${texts.at(-1)}`;
}

/** Who has which of them; of very many guests the first. */
function aloneText(cpus: readonly Cpu[]): string {
  const owned = cpus.flatMap(({ cpu, dedicatedTo }) =>
    dedicatedTo === undefined ? [] : [{ cpu, dedicatedTo }],
  );
  const byName = Map.groupBy(owned, ({ dedicatedTo }) => dedicatedTo);
  const texts = [...byName].map(([name, theirs]) => `${name}: ${printCpuList(theirs.map(({ cpu }) => cpu))}`);
  const more = texts.length - shownCores;
  return `${texts.slice(0, shownCores).join('; ')}${more > 0 ? `; and ${more} more` : ''}` || '-';
}
