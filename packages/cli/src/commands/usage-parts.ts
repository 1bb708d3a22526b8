/** The parts of `wirt top --per disk|nic|vcpu`: a row for each, with what it uses beside the limits in force. */
import type { DiskUsage, EffectiveLimits, NicUsage, Usage } from '@wirt/api';
import { effectiveValues, valueText } from '../limit-values.ts';
import { percent, shortBytes } from './usage-numbers.ts';
import type { PartKind, TopCell } from './usage-row.ts';

interface PartColumn<T> {
  readonly title: string;
  readonly width: number;
  /** The key of its limit, below that of the part. */
  readonly limit?: string;
  readonly text: (part: T) => string;
}

const whole = (value: number): string => String(Math.round(value));

const disk: readonly PartColumn<DiskUsage>[] = [
  { title: 'READ/S', width: 11, limit: 'read', text: (part) => shortBytes(part.readBytesPerSecond) },
  { title: 'WRITE/S', width: 11, limit: 'write', text: (part) => shortBytes(part.writtenBytesPerSecond) },
  { title: 'READS', width: 9, limit: 'read-ops', text: (part) => whole(part.readsPerSecond) },
  { title: 'WRITES', width: 9, limit: 'write-ops', text: (part) => whole(part.writesPerSecond) },
  { title: 'READ', width: 6, text: (part) => shortBytes(part.readBytes) },
  { title: 'WRITTEN', width: 7, text: (part) => shortBytes(part.writtenBytes) },
];

const nic: readonly PartColumn<NicUsage>[] = [
  { title: 'IN/S', width: 11, limit: 'ingress', text: (part) => shortBytes(part.ingressBytesPerSecond) },
  { title: 'OUT/S', width: 11, limit: 'egress', text: (part) => shortBytes(part.egressBytesPerSecond) },
  {
    title: 'PKT IN',
    width: 8,
    limit: 'ingress-packets',
    text: (part) => whole(part.ingressPacketsPerSecond),
  },
  { title: 'PKT OUT', width: 8, limit: 'egress-packets', text: (part) => whole(part.egressPacketsPerSecond) },
  { title: 'DROP IN', width: 7, text: (part) => String(part.ingressDropped) },
  { title: 'DROP OUT', width: 8, text: (part) => String(part.egressDropped) },
];

type Vcpu = Usage['cpu']['vcpus'][number];

const vcpu: readonly PartColumn<Vcpu>[] = [
  { title: 'CORES', width: 6, text: (part) => part.cores.toFixed(2) },
  { title: 'STL%', width: 5, text: (part) => percent(part.steal).text },
];

const tables = { disk, nic, vcpu } as const;

export function partColumns(per: PartKind): readonly { readonly title: string; readonly width: number }[] {
  return tables[per];
}

/** Names and cells of the parts of one guest. `effective` is what was read back of its limits, where that is known. */
export function partRows(
  per: PartKind,
  usage: Usage,
  effective: EffectiveLimits | undefined,
): (readonly [part: string, cells: readonly TopCell[]])[] {
  const limits = effective === undefined ? undefined : effectiveValues(effective);
  const limitOf = (scope: string) => (word: string) => {
    const key = `${scope}.${word}`;
    const value = limits?.get(key);
    // The rate alone: what a burst may be is in `wirt show`.
    return value === undefined ? undefined : valueText(key, value).split(':')[0];
  };
  switch (per) {
    case 'disk':
      return usage.disks.map((part) => [part.name, cellsOf(disk, part, limitOf(`disk.${part.name}`))]);
    case 'nic':
      return usage.nics.map((part) => [part.name, cellsOf(nic, part, limitOf(`network.${part.name}`))]);
    case 'vcpu':
      return usage.cpu.vcpus.map((part, at) => [`vcpu${at}`, cellsOf(vcpu, part, () => undefined)]);
  }
}

function cellsOf<T>(
  columns: readonly PartColumn<T>[],
  part: T,
  limitOf: (word: string) => string | undefined,
): TopCell[] {
  return columns.map(({ text, limit }) => {
    const bound = limit === undefined ? undefined : limitOf(limit);
    return { text: bound === undefined ? text(part) : `${text(part)}/${bound}` };
  });
}
