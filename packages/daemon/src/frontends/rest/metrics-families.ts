/**
 * What `/metrics` has of instances: each family with its name, unit and meaning, and how it is read off a survey. Names and units by Prometheus'
 * conventions (base units, `_total` for counters). Bounded: three labels for each instance, one more for its disks and cards; none that a user can invent.
 */
import { instanceStates, type Usage } from '@wirt/api';
import type { UsageSurvey } from '@wirt/core';

/** One line of a family; `sharedLabels` are the instance's, the same object in all its lines, which the writer formats once. */
export interface Line {
  readonly labels: Readonly<Record<string, string>>;
  readonly sharedLabels?: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Family {
  readonly name: string;
  readonly type: 'counter' | 'gauge';
  readonly help: string;
  lines(survey: Surveyed): Line[];
}

type Row = UsageSurvey['instances'][number] & { readonly sharedLabels: Readonly<Record<string, string>> };

/** A survey with the labels of each instance. */
export interface Surveyed extends Omit<UsageSurvey, 'instances'> {
  readonly instances: readonly Row[];
}

const mib = 1024 ** 2;
const none = {} as const;

export function surveyed(survey: UsageSurvey): Surveyed {
  const instances = survey.instances.map((row) => ({
    ...row,
    sharedLabels: { instance: row.name, id: row.id, project: row.project },
  }));
  return { ...survey, instances };
}

/** A value of each running instance; undefined where it is not known, or there is no limit. */
function each(
  type: Family['type'],
  name: string,
  help: string,
  read: (usage: Usage) => number | undefined,
): Family {
  return {
    type,
    name: `wirt_instance_${name}`,
    help,
    lines: ({ instances }) => {
      const lines: Line[] = [];
      for (const { usage, sharedLabels } of instances) {
        const value = usage === undefined ? undefined : read(usage);
        if (value !== undefined) lines.push({ labels: none, sharedLabels, value });
      }
      return lines;
    },
  };
}

/** A counter of each part of an instance. */
function eachPart<K extends 'disks' | 'nics'>(
  parts: K,
  label: string,
  name: string,
  help: string,
  read: (part: Usage[K][number]) => number,
): Family {
  return {
    type: 'counter',
    name: `wirt_instance_${name}_total`,
    help,
    lines: ({ instances }) => {
      const lines: Line[] = [];
      for (const { usage, sharedLabels } of instances)
        for (const part of usage?.[parts] ?? [])
          lines.push({ labels: { [label]: part.name }, sharedLabels, value: read(part) });
      return lines;
    },
  };
}

const single = (
  type: Family['type'],
  name: string,
  help: string,
  read: (s: Surveyed) => number | undefined,
) =>
  ({
    type,
    name,
    help,
    lines: (survey) => {
      const value = read(survey);
      return value === undefined ? [] : [{ labels: none, value }];
    },
  }) satisfies Family;

const bytesOf = (sizeMib: number | undefined) => (sizeMib === undefined ? undefined : sizeMib * mib);

const states: Family[] = [
  {
    type: 'gauge',
    name: 'wirt_instances',
    help: 'Instances by state.',
    lines: ({ instances }) => {
      const counts = new Map<string, number>(instanceStates.map((state) => [state, 0]));
      for (const { state } of instances) counts.set(state, (counts.get(state) ?? 0) + 1);
      return Array.from(counts, ([state, value]) => ({ labels: { state }, value }));
    },
  },
  {
    type: 'gauge',
    name: 'wirt_instance_state',
    help: 'The state that the instance is in; always 1.',
    lines: ({ instances }) =>
      instances.map(({ state, sharedLabels }) => ({ labels: { state }, sharedLabels, value: 1 })),
  },
];

const processor: Family[] = [
  each(
    'counter',
    'cpu_seconds_total',
    'Processor time used, by QEMU’s own threads too.',
    ({ cpu }) => cpu.seconds,
  ),
  each(
    'gauge',
    'cpu_limit_cores',
    'Processor time allowed a second; absent without a limit.',
    ({ cpu }) => cpu.limitCores,
  ),
  each(
    'counter',
    'cpu_throttled_seconds_total',
    'Time its threads were held back by the limit.',
    ({ cpu }) => cpu.throttledSeconds,
  ),
  each(
    'counter',
    'cpu_steal_seconds_total',
    'Time its vCPUs were ready and waited for a processor.',
    ({ cpu }) => cpu.stealSeconds,
  ),
  each(
    'gauge',
    'cpu_pressure_ratio',
    'Share of the last 10 s in which one of its tasks waited for a processor (PSI some).',
    ({ cpu }) => cpu.pressure,
  ),
  each('gauge', 'vcpus', 'vCPUs that are plugged in.', ({ cpu }) => cpu.vcpus.length),
];

const memory: Family[] = [
  each(
    'gauge',
    'memory_bytes',
    'Memory of the host in use by the guest and its QEMU.',
    ({ memory: { usedMib } }) => bytesOf(usedMib),
  ),
  each('gauge', 'memory_swapped_bytes', 'What of it is swapped out.', ({ memory: { swappedMib } }) =>
    bytesOf(swappedMib),
  ),
  each(
    'gauge',
    'memory_ceiling_bytes',
    'What it may use at most; absent without a ceiling.',
    ({ memory: { ceilingMib } }) => bytesOf(ceilingMib),
  ),
  each(
    'gauge',
    'memory_guest_bytes',
    'Memory that the guest has, without what the balloon holds.',
    ({ memory: { guestMib } }) => bytesOf(guestMib),
  ),
  each(
    'gauge',
    'memory_pressure_ratio',
    'Share of the last 10 s in which one of its tasks waited for memory (PSI some).',
    ({ memory: { pressure } }) => pressure,
  ),
];

const disks: Family[] = [
  each(
    'gauge',
    'io_pressure_ratio',
    'Share of the last 10 s in which one of its tasks waited for a disk of the host (PSI some).',
    ({ io }) => io.pressure,
  ),
  eachPart(
    'disks',
    'disk',
    'disk_read_bytes',
    'Bytes the guest has read, since its QEMU was started.',
    (disk) => disk.readBytes,
  ),
  eachPart(
    'disks',
    'disk',
    'disk_written_bytes',
    'Bytes the guest has written, since its QEMU was started.',
    (disk) => disk.writtenBytes,
  ),
  eachPart('disks', 'disk', 'disk_reads_completed', 'Reads of the guest.', (disk) => disk.reads),
  eachPart('disks', 'disk', 'disk_writes_completed', 'Writes of the guest.', (disk) => disk.writes),
];

const cards: Family[] = [
  eachPart(
    'nics',
    'nic',
    'network_receive_bytes',
    'Bytes towards the guest, since the card was plugged in.',
    (nic) => nic.ingressBytes,
  ),
  eachPart(
    'nics',
    'nic',
    'network_transmit_bytes',
    'Bytes from the guest, since the card was plugged in.',
    (nic) => nic.egressBytes,
  ),
  eachPart(
    'nics',
    'nic',
    'network_receive_packets',
    'Packets towards the guest.',
    (nic) => nic.ingressPackets,
  ),
  eachPart('nics', 'nic', 'network_transmit_packets', 'Packets from the guest.', (nic) => nic.egressPackets),
  eachPart(
    'nics',
    'nic',
    'network_receive_packets_dropped',
    'Packets towards the guest that were dropped, for want of room or rate.',
    (nic) => nic.ingressDropped,
  ),
  eachPart(
    'nics',
    'nic',
    'network_transmit_packets_dropped',
    'Packets from the guest that were dropped, for want of room or rate.',
    (nic) => nic.egressDropped,
  ),
];

const sampler: Family[] = [
  each(
    'gauge',
    'sample_stale',
    '1 where its QEMU did not answer: the numbers of its disks are of an earlier sample.',
    ({ stale }) => (stale === true ? 1 : 0),
  ),
  single(
    'counter',
    'wirt_usage_passes_total',
    'Passes of the sampler since wirtd was started.',
    ({ passes }) => passes,
  ),
  single(
    'counter',
    'wirt_usage_pass_seconds_total',
    'Time that these passes have taken from wirtd, without waiting.',
    ({ passSeconds }) => passSeconds,
  ),
  single(
    'gauge',
    'wirt_usage_last_pass_timestamp_seconds',
    'When the last pass was, which all numbers of instances are of.',
    ({ at }) => (at === undefined ? undefined : Date.parse(at) / 1000),
  ),
];

export const families: readonly Family[] = [
  ...states,
  ...processor,
  ...memory,
  ...disks,
  ...cards,
  ...sampler,
];
