/**
 * Every key that `wirt set` and `wirt policy` take: what it means, where its value goes in the contract, in which unit it is written, when
 * a change acts and where. Parser, help, completion and docs/reference/limits.md all come from here.
 */
import type { Tuning } from '@wirt/api';
import { nearest } from './nearest.ts';

export type Unit =
  | 'cores'
  | 'weight'
  | 'time'
  | 'size'
  | 'ceiling'
  | 'swap'
  | 'switch'
  | 'byte-rate'
  | 'operation-rate'
  | 'network-rate'
  | 'network-burst'
  | 'packets'
  | 'vcpus'
  | 'memory'
  | 'text'
  | 'optional-text'
  | 'restart'
  | 'profile'
  | 'pages'
  | 'placement'
  | 'yes-no'
  | 'cpu-list'
  | 'cpu-topology'
  | 'device';

/** Where in the contract. `limits` below the limits of an instance or policy; `disk` and `nic` below those of the one named in the key. */
export type Place =
  | { readonly in: 'limits' | 'disk' | 'nic'; readonly path: readonly string[] }
  | { readonly in: 'spec' | 'record'; readonly path: readonly [string] }
  | { readonly in: 'tuning'; readonly path: readonly [keyof Tuning] }
  /** Those that are replaced as a whole, by the name in the key. */
  | { readonly in: 'label' | 'pin' | 'device' };

export interface KeySpec {
  /** With NAME, NIC, KEY or VCPU where a name stands. */
  readonly key: string;
  readonly summary: string;
  readonly unit: Unit;
  /** `live`: on a running guest; `start`: at its next start; `record`: at once, and no guest is concerned. */
  readonly when: 'live' | 'start' | 'record';
  readonly acts: string;
  readonly floor?: string;
  readonly place: Place;
}

const group = 'control group';
const qemuGroup = 'QEMU throttle group';

const settings = [
  {
    key: 'cpus',
    summary: 'Virtual CPUs, up to max-cpus of its start',
    unit: 'vcpus',
    when: 'live',
    acts: 'QEMU hot-plug',
    floor: '1',
    place: { in: 'spec', path: ['cpus'] },
  },
  {
    key: 'memory',
    summary: 'Memory of the guest; above that of its start up to max-memory',
    unit: 'memory',
    when: 'live',
    acts: 'virtio-mem, balloon',
    floor: '32 MiB',
    place: { in: 'spec', path: ['memoryMib'] },
  },
  {
    key: 'max-cpus',
    summary: 'Up to how many its vCPUs can be raised while it runs',
    unit: 'vcpus',
    when: 'start',
    acts: 'QEMU',
    floor: '1',
    place: { in: 'spec', path: ['maxCpus'] },
  },
  {
    key: 'max-memory',
    summary: 'Up to what its memory can be raised while it runs',
    unit: 'memory',
    when: 'start',
    acts: 'QEMU',
    floor: '32 MiB',
    place: { in: 'spec', path: ['maxMemoryMib'] },
  },
  {
    key: 'policy',
    summary: 'Limits that it shares with others; empty: none',
    unit: 'optional-text',
    when: 'live',
    acts: 'as each of them',
    place: { in: 'spec', path: ['policy'] },
  },
  {
    key: 'restart',
    summary: 'What to do when the guest ends by itself',
    unit: 'restart',
    when: 'record',
    acts: 'wirtd',
    place: { in: 'spec', path: ['restart'] },
  },
  {
    key: 'autostart',
    summary: 'Start it once after each boot of the host',
    unit: 'switch',
    when: 'record',
    acts: 'wirtd',
    place: { in: 'spec', path: ['autostart'] },
  },
  {
    key: 'vsock',
    summary: 'A socket to programs of the host; it opens a way to services of the host',
    unit: 'switch',
    when: 'start',
    acts: 'QEMU, vhost',
    place: { in: 'spec', path: ['vsock'] },
  },
  {
    key: 'name',
    summary: 'Its name',
    unit: 'text',
    when: 'record',
    acts: 'wirtd',
    place: { in: 'record', path: ['name'] },
  },
  {
    key: 'label.KEY',
    summary: 'A label; empty: without it',
    unit: 'text',
    when: 'record',
    acts: 'wirtd',
    place: { in: 'label' },
  },
] as const satisfies readonly KeySpec[];

/** How it is fitted to the hardware; docs/explanation/tuning.md says what of it is best for whom. */
const tuning = [
  {
    key: 'profile',
    summary: 'What it is tuned for; what it sets is in docs/explanation/tuning.md',
    unit: 'profile',
    when: 'start',
    acts: 'as each setting',
    place: { in: 'tuning', path: ['profile'] },
  },
  {
    key: 'hugepages',
    summary: 'Size of the pages that its memory is made of',
    unit: 'pages',
    when: 'start',
    acts: 'QEMU, pools of huge pages',
    place: { in: 'tuning', path: ['hugePages'] },
  },
  {
    key: 'placement',
    summary: 'auto: on the fewest NUMA nodes that hold it; none: wherever the kernel likes',
    unit: 'placement',
    when: 'start',
    acts: 'QEMU, control group',
    place: { in: 'tuning', path: ['placement'] },
  },
  {
    key: 'dedicated',
    summary: 'Each vCPU has a processor of the host that no other guest runs on',
    unit: 'yes-no',
    when: 'start',
    acts: 'affinity of threads, control group',
    place: { in: 'tuning', path: ['dedicated'] },
  },
  {
    key: 'pin.VCPU',
    summary: 'Processors of the host that one vCPU runs on, by its number from 0',
    unit: 'cpu-list',
    when: 'start',
    acts: 'affinity of threads',
    place: { in: 'pin' },
  },
  {
    key: 'pin.emulator',
    summary: 'Processors that QEMU’s own threads run on',
    unit: 'cpu-list',
    when: 'start',
    acts: 'affinity of threads',
    place: { in: 'tuning', path: ['emulatorPin'] },
  },
  {
    key: 'pin.iothreads',
    summary: 'Processors that the threads of its disks run on',
    unit: 'cpu-list',
    when: 'start',
    acts: 'affinity of threads',
    place: { in: 'tuning', path: ['iothreadPin'] },
  },
  {
    key: 'topology',
    summary: 'Sockets, cores of each, and threads of each core that the guest sees',
    unit: 'cpu-topology',
    when: 'start',
    acts: 'QEMU',
    place: { in: 'tuning', path: ['topology'] },
  },
  {
    key: 'device.NAME',
    summary: 'A PCI device of the host that it has while it runs',
    unit: 'device',
    when: 'start',
    acts: 'vfio-pci, QEMU',
    place: { in: 'device' },
  },
] as const satisfies readonly KeySpec[];

const processorAndMemory = [
  {
    key: 'cpu.cores',
    summary: 'Processor time of the guest and of QEMU’s own threads together',
    unit: 'cores',
    when: 'live',
    acts: group,
    floor: '0.05',
    place: { in: 'limits', path: ['cpu', 'cores'] },
  },
  {
    key: 'cpu.weight',
    summary: 'Share of a full host beside other guests; 100 is usual',
    unit: 'weight',
    when: 'live',
    acts: group,
    place: { in: 'limits', path: ['cpu', 'weight'] },
  },
  {
    key: 'cpu.burst',
    summary: 'Unused processor time that may be taken above cpu.cores later',
    unit: 'time',
    when: 'live',
    acts: group,
    place: { in: 'limits', path: ['cpu', 'burstMs'] },
  },
  {
    key: 'memory.ceiling',
    summary: 'Memory of the host for the guest and its QEMU together; auto: what both need',
    unit: 'ceiling',
    when: 'live',
    acts: group,
    floor: 'the guest’s memory and QEMU’s own',
    place: { in: 'limits', path: ['memory', 'ceilingMib'] },
  },
  {
    key: 'memory.reservation',
    summary: 'Memory that is taken from it last when the host is short',
    unit: 'size',
    when: 'live',
    acts: group,
    place: { in: 'limits', path: ['memory', 'reservationMib'] },
  },
  {
    key: 'memory.swap',
    summary: 'How much of it may be swapped out, beside a ceiling; 0: nothing',
    unit: 'swap',
    when: 'live',
    acts: group,
    place: { in: 'limits', path: ['memory', 'swapMib'] },
  },
  {
    key: 'memory.balloon',
    summary: 'What is left to the guest while the balloon takes the rest; none: all it has',
    unit: 'size',
    when: 'live',
    acts: 'virtio-balloon',
    floor: '64 MiB',
    place: { in: 'limits', path: ['memory', 'balloonMib'] },
  },
  {
    key: 'memory.free-page-reporting',
    summary: 'The guest tells of pages it does not use, and the host gets them back',
    unit: 'switch',
    when: 'start',
    acts: 'virtio-balloon',
    place: { in: 'limits', path: ['memory', 'freePageReporting'] },
  },
] as const satisfies readonly KeySpec[];

const throttleFields = [
  { word: 'read', field: 'readBytes', summary: 'Bytes read a second', unit: 'byte-rate' },
  { word: 'write', field: 'writeBytes', summary: 'Bytes written a second', unit: 'byte-rate' },
  { word: 'total', field: 'totalBytes', summary: 'Bytes read and written a second', unit: 'byte-rate' },
  { word: 'read-ops', field: 'readOperations', summary: 'Reads a second', unit: 'operation-rate' },
  { word: 'write-ops', field: 'writeOperations', summary: 'Writes a second', unit: 'operation-rate' },
  {
    word: 'total-ops',
    field: 'totalOperations',
    summary: 'Reads and writes a second',
    unit: 'operation-rate',
  },
] as const;

const directions = [
  { word: 'ingress', summary: 'towards the guest' },
  { word: 'egress', summary: 'from the guest' },
] as const;

const cardFields = [
  {
    suffix: '',
    field: 'bytesPerSecond',
    summary: 'Rate',
    unit: 'network-rate',
    acts: 'tc on the tap',
    floor: '8 KiB',
  },
  {
    suffix: '-burst',
    field: 'burstBytes',
    summary: 'What may pass at once after a pause,',
    unit: 'network-burst',
    acts: 'tc on the tap',
    floor: '4 KiB',
  },
  {
    suffix: '-packets',
    field: 'packetsPerSecond',
    summary: 'Packets a second',
    unit: 'packets',
    acts: 'nftables',
    floor: '10',
  },
] as const;

function throttleKeys(
  scope: string,
  which: string,
  place: 'limits' | 'disk',
  path: readonly string[],
): KeySpec[] {
  return throttleFields.map(({ word, field, summary, unit }) => ({
    key: `${scope}.${word}`,
    summary: `${summary}, ${which}`,
    unit,
    when: 'live',
    acts: qemuGroup,
    floor: unit === 'byte-rate' ? '64 KiB' : '10',
    place: { in: place, path: [...path, field] },
  }));
}

function cardKeys(scope: string, which: string, place: 'limits' | 'nic', path: readonly string[]): KeySpec[] {
  return directions.flatMap(({ word, summary: way }) =>
    cardFields.map(
      ({ suffix, field, summary, unit, acts, floor }): KeySpec => ({
        key: `${scope}.${word}${suffix}`,
        summary: `${summary} ${way}, ${which}`,
        unit,
        when: 'live',
        acts: word === 'egress' && acts.startsWith('tc') ? 'tc on an ifb behind the tap' : acts,
        floor,
        place: { in: place, path: [...path, word, field] },
      }),
    ),
  );
}

export const keySpecs: readonly KeySpec[] = [
  ...settings,
  ...tuning,
  ...processorAndMemory,
  ...throttleKeys('disk', 'all disks together', 'limits', ['disk']),
  {
    key: 'disk.weight',
    summary: 'Share of a busy disk of the host beside other guests; 100 is usual',
    unit: 'weight',
    when: 'live',
    acts: group,
    place: { in: 'limits', path: ['disk', 'weight'] },
  },
  ...throttleKeys('each-disk', 'each disk', 'limits', ['eachDisk']),
  ...throttleKeys('disk.NAME', 'one disk', 'disk', []),
  ...cardKeys('network', 'each card', 'limits', ['eachNic']),
  ...cardKeys('network.NIC', 'one card', 'nic', []),
];

/** Other words for keys. */
export const keyAliases: Readonly<Record<string, string>> = { 'cpu.limit': 'cpu.cores' };

/** How its values are written, for help and for messages. */
export const unitTexts = {
  cores: '0.5, 2, none',
  weight: '0 to 10000',
  time: '50ms, 0.2s',
  size: '512M, 2G, none',
  ceiling: 'auto, 2G, none',
  swap: '512M, 0',
  switch: 'on, off',
  'byte-rate': '10MiB, 10MB, 10MiB:50MiB/10s, none',
  'operation-rate': '500, 500:2000/10s, none',
  'network-rate': '100Mbit, 10MiB, none',
  'network-burst': '64KiB',
  packets: '20000, none',
  vcpus: '4',
  memory: '512M, 2G',
  text: 'TEXT',
  'optional-text': 'NAME',
  restart: 'never, on-failure, always',
  profile: 'balanced, latency, density',
  pages: 'none, 2M, 1G',
  placement: 'auto, none',
  'yes-no': 'yes, no',
  'cpu-list': '2-3, 0-3,8',
  'cpu-topology': '1,4,2',
  device: '0000:03:00.0, pool=fast, mdev=UUID',
} as const satisfies Record<Unit, string>;

/** A key that was typed: what it means, and the name in it. */
export interface Key {
  readonly spec: KeySpec;
  /** As it is shown: without an alias. */
  readonly key: string;
  readonly name?: string;
}

export function findKey(typed: string): Key | undefined {
  const key = Object.hasOwn(keyAliases, typed) ? (keyAliases[typed] ?? typed) : typed;
  const exact = keySpecs.find((spec) => spec.key === key && !/[A-Z]/.test(spec.key));
  if (exact !== undefined) return { spec: exact, key };
  for (const spec of keySpecs) {
    const place = /^(.*?\.)(NAME|NIC|KEY|VCPU)(.*)$/.exec(spec.key);
    if (place === null) continue;
    const [, head = '', , tail = ''] = place;
    const name =
      key.startsWith(head) && key.endsWith(tail) ? key.slice(head.length, key.length - tail.length) : '';
    if (namesOf(spec).test(name)) return { spec, key, name };
  }
  return undefined;
}

/** Names of disks and cards have no dots; those of labels may. */
function namesOf({ place }: KeySpec): RegExp {
  if (place.in === 'label') return /./s;
  return place.in === 'pin' ? /^\d{1,4}$/ : /^[a-z0-9][a-z0-9-]*$/;
}

/** Those that a policy can have too. */
export function isShared({ place }: KeySpec): boolean {
  return place.in === 'limits';
}

export function nearestKey(typed: string, specs: readonly KeySpec[]): string | undefined {
  return nearest(typed, [...specs.map(({ key }) => key), ...Object.keys(keyAliases)]);
}

/** Lines for help: every key with how its values are written. */
export function keyLines(specs: readonly KeySpec[]): string[] {
  const rows = specs.map(({ key, unit, summary, when }) => {
    const late = when === 'start' ? ' (next start)' : '';
    return [key, unitTexts[unit], `${summary}${late}`] as const;
  });
  const width = Math.max(...rows.map(([key]) => key.length));
  return rows.map(([key, values, summary]) => `  ${key.padEnd(width)}  ${summary}: ${values}`);
}
