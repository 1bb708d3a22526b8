/** The table of `wirt top`: what guests use beside their limits, sorted, cut to the width of the terminal. Pure. */
import type { EffectiveLimits, Usage } from '@wirt/api';
import { besideLimit, percent, shortBytes, shortMib } from './usage-numbers.ts';
import { partColumns, partRows } from './usage-parts.ts';
import { layOutRows, type PartKind, type Room, type TopCell, type TopRow } from './usage-row.ts';

export const sortKeys = ['cpu', 'memory', 'disk', 'network', 'name'] as const;
export type SortKey = (typeof sortKeys)[number];

const sum = <T>(items: readonly T[], of: (item: T) => number): number =>
  items.reduce((total, item) => total + of(item), 0);

const read = ({ disks }: Usage): number => sum(disks, (disk) => disk.readBytesPerSecond);
const written = ({ disks }: Usage): number => sum(disks, (disk) => disk.writtenBytesPerSecond);
const ingress = ({ nics }: Usage): number => sum(nics, (nic) => nic.ingressBytesPerSecond);
const egress = ({ nics }: Usage): number => sum(nics, (nic) => nic.egressBytesPerSecond);

const loads = {
  cpu: ({ cpu }) => cpu.cores,
  memory: ({ memory }) => memory.usedMib,
  disk: (usage) => read(usage) + written(usage),
  network: (usage) => ingress(usage) + egress(usage),
} as const satisfies Record<Exclude<SortKey, 'name'>, (usage: Usage) => number>;

/** The largest first; those that are equal by name, so that rows stand still. */
export function sorted(items: readonly Usage[], key: SortKey): Usage[] {
  const byName = (one: Usage, other: Usage): number => (one.name < other.name ? -1 : 1);
  if (key === 'name') return items.toSorted(byName);
  const load = loads[key];
  return items.toSorted((one, other) => load(other) - load(one) || byName(one, other));
}

function limitCores(cores: number): string {
  return Number.isInteger(cores * 10) ? cores.toFixed(1) : cores.toFixed(2);
}

/** The pressure of whatever presses most. */
function pressure({ cpu, memory, io }: Usage): number | undefined {
  const all = [cpu.pressure, memory.pressure, io.pressure].filter((share) => share !== undefined);
  return all.length === 0 ? undefined : Math.max(...all);
}

const bytes = (of: (usage: Usage) => number) => (usage: Usage) => ({ text: shortBytes(of(usage)) });

interface Column {
  readonly title: string;
  readonly width: number;
  /** Which terminals have it: those wide enough for all three pressures, or the others. */
  readonly on?: 'wide' | 'narrow';
  readonly cell: (usage: Usage) => TopCell;
}

const wideColumns = 110;

const columns: readonly Column[] = [
  {
    title: 'CPU',
    width: 9,
    cell: ({ cpu }) => besideLimit(cpu.cores, cpu.limitCores, (n) => n.toFixed(2), limitCores),
  },
  { title: 'THR%', width: 4, cell: ({ cpu }) => percent(cpu.throttled) },
  { title: 'STL%', width: 4, cell: ({ cpu }) => percent(cpu.steal) },
  { title: 'PSI%', width: 4, on: 'narrow', cell: (usage) => percent(pressure(usage)) },
  { title: 'PSI%CPU', width: 7, on: 'wide', cell: ({ cpu }) => percent(cpu.pressure) },
  { title: 'PSI%MEM', width: 7, on: 'wide', cell: ({ memory }) => percent(memory.pressure) },
  { title: 'PSI%IO', width: 6, on: 'wide', cell: ({ io }) => percent(io.pressure) },
  {
    title: 'MEMORY',
    width: 10,
    cell: ({ memory }) => besideLimit(memory.usedMib, memory.ceilingMib, shortMib),
  },
  { title: 'READ', width: 5, cell: bytes(read) },
  { title: 'WRITE', width: 5, cell: bytes(written) },
  { title: 'IN', width: 5, cell: bytes(ingress) },
  { title: 'OUT', width: 5, cell: bytes(egress) },
];

export interface TopOptions extends Room {
  readonly sort: SortKey;
  readonly per?: PartKind | undefined;
  /** Limits that were read back, by id of the instance: for the parts. */
  readonly limits?: ReadonlyMap<string, EffectiveLimits>;
}

/** Lines of a table that fit the width, with the header first. */
export function topLines(items: readonly Usage[], options: TopOptions): string[] {
  const ordered = sorted(items, options.sort);
  const { per, limits } = options;
  if (per === undefined) {
    const width = options.columns >= wideColumns ? 'wide' : 'narrow';
    const shown = columns.filter(({ on = width }) => on === width);
    return layOutRows(
      shown,
      ordered.map((usage) =>
        rowOf(
          usage,
          usage.name,
          shown.map(({ cell }) => cell(usage)),
        ),
      ),
      options,
    );
  }
  const rows = ordered.flatMap((usage) =>
    partRows(per, usage, limits?.get(usage.instance)).map(([part, cells]) =>
      rowOf(usage, `${usage.name}/${part}`, cells),
    ),
  );
  return layOutRows(partColumns(per), rows, options);
}

function rowOf({ stale = false }: Usage, name: string, cells: readonly TopCell[]): TopRow {
  return { name, cells, stale };
}

/** What a mark before a name means; nothing where there is none. */
export function staleNote(items: readonly Usage[]): string | undefined {
  return items.some(({ stale }) => stale === true)
    ? '~ its QEMU does not answer: its disks are as they were'
    : undefined;
}
