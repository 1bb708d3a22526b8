/** What people see of how a guest is fitted to the hardware: every setting with its reason, and in short where it was put. */
import type { InstancePlacement, InstanceTuning, Tuning, TuningSetting } from '@wirt/api';
import { printCpuList } from '@wirt/api/cpu-list';
import type { View } from '../print.ts';
import type { Block, Cell } from '../table.ts';
import { mibText } from '../units.ts';

const sources = {
  spec: 'its spec',
  profile: 'its profile',
  host: 'this host',
  default: 'default',
} as const satisfies Record<TuningSetting['from'], string>;

export function tuningView(found: InstanceTuning): View {
  return {
    data: found,
    names: [...new Set(found.settings.map(({ setting }) => setting))],
    table: () => tuningBlocks(found),
  };
}

function tuningBlocks({ instance, running, profile, settings }: InstanceTuning): Block[] {
  const head = running
    ? `${instance} runs with the profile ${profile}, and has:`
    : `${instance} has the profile ${profile}, and would get at its next start:`;
  return [
    { kind: 'lines', lines: [head] },
    {
      kind: 'table',
      columns: ['SETTING', 'VALUE', 'FROM', 'WHY'],
      rows: settings.map((each, at) => settingRow(each, settings[at - 1])),
      below: settings.map(({ better }) => (better === undefined ? undefined : betterLine(better))),
      empty: 'There is nothing to tell of it.',
    },
    {
      kind: 'lines',
      lines: [`Change it: wirt set ${instance} KEY=VALUE${running ? ', in force from its next start' : ''}`],
    },
  ];
}

/** One reason more for the setting above has a line of its own, without a value. */
function settingRow({ setting, value, from, why }: TuningSetting, before: TuningSetting | undefined): Cell[] {
  if (value === '' && setting === before?.setting) return ['', '', '', why];
  return [setting, { text: shortened(value), tone: 'bold' }, sources[from], why];
}

const shownCharacters = 40;

/** The pins of a wide guest would push all else out of sight; programs get them whole. */
function shortened(value: string): string {
  return value.length > shownCharacters ? `${value.slice(0, shownCharacters)}…` : value;
}

function betterLine(better: string): Cell {
  return { text: `    better: ${better}`, tone: 'warn' };
}

type Field = readonly [label: string, value: Cell];

/** Where a running guest was put, in a few lines; none where the kernel puts it wherever it likes. */
export function placementFields(placement: InstancePlacement | undefined): Field[] {
  if (placement === undefined) return [];
  const place = [
    ...(placement.nodes.length === 0
      ? []
      : [`${placement.nodes.length === 1 ? 'node' : 'nodes'} ${printCpuList(placement.nodes)}`]),
    ...(placement.groupCpus === undefined ? [] : [`processors ${placement.groupCpus}`]),
    ...(placement.dedicated === undefined ? [] : [`${placement.dedicated} for it alone`]),
  ];
  const pins = pinsText(placement);
  const pages = pagesText(placement);
  return [
    ...(place.length === 0 ? [] : [['Placed on', place.join(', ')] as const]),
    ...(pins === '' ? [] : [['Pinned', pins] as const]),
    ...(pages === '' ? [] : [['Huge pages', pages] as const]),
  ];
}

/** Of a wide guest, only the first pins. */
const shownPins = 8;

function pinsText({ vcpuPins, emulatorPin, iothreadPin }: InstancePlacement): string {
  const vcpus = Object.entries(vcpuPins).toSorted(([a], [b]) => Number(a) - Number(b));
  const more = vcpus.length - shownPins;
  const texts = vcpus.slice(0, shownPins).map(([vcpu, cpus]) => `${vcpu} on ${cpus}`);
  return [
    ...(texts.length === 0 ? [] : [`vCPU ${texts.join(', ')}${more > 0 ? `, and ${more} more` : ''}`]),
    ...(emulatorPin === undefined ? [] : [`QEMU on ${emulatorPin}`]),
    ...(iothreadPin === undefined ? [] : [`disks on ${iothreadPin}`]),
  ].join('; ');
}

function pagesText({ pageSizeKib, guestNodes }: InstancePlacement): string {
  if (pageSizeKib === undefined) return '';
  const counts = guestNodes.map(({ memoryMib, hostNode }) => {
    const count = Math.ceil((memoryMib * 1024) / pageSizeKib);
    return `${count}${hostNode === undefined ? '' : ` on node ${hostNode}`}`;
  });
  return `of ${mibText(pageSizeKib / 1024)}: ${counts.join(', ')}`;
}

/** What was asked for, by the keys of `wirt set`. */
export function tuningFields(tuning: Tuning = {}): Field[] {
  const { profile, hugePages, placement, dedicated, topology } = tuning;
  const pins = { ...tuning.vcpuPins, emulator: tuning.emulatorPin, iothreads: tuning.iothreadPin };
  const texts = Object.entries({
    profile,
    hugepages: hugePages,
    placement,
    dedicated: dedicated === undefined ? undefined : dedicated ? 'yes' : 'no',
    topology: topology === undefined ? undefined : topologyText(topology),
    ...Object.fromEntries(Object.entries(pins).map(([name, cpus]) => [`pin.${name}`, cpus])),
  }).flatMap(([key, value]) => (value === undefined ? [] : [`${key}=${value}`]));
  const shown = texts.slice(0, shownPins + 5);
  const more = texts.length - shown.length;
  return texts.length === 0 ? [] : [['Tuning', `${shown.join(' ')}${more > 0 ? ` and ${more} more` : ''}`]];
}

function topologyText({ sockets, cores, threads }: InstancePlacement['topology']): string {
  return `${sockets},${cores},${threads}`;
}

/** What a running guest has of a key of `wirt set`, as it is written there; undefined for what no placement tells. */
export function placedValue(placement: InstancePlacement, key: string): string | undefined {
  switch (key) {
    case 'profile':
      return undefined;
    case 'hugepages':
      return pageSizeText(placement.pageSizeKib);
    case 'placement':
      return placement.nodes.length > 0 ? 'auto' : 'none';
    case 'dedicated':
      return placement.dedicated === undefined ? 'no' : 'yes';
    case 'topology':
      return topologyText(placement.topology);
    case 'pin.emulator':
      return placement.emulatorPin ?? 'none';
    case 'pin.iothreads':
      return placement.iothreadPin ?? 'none';
    default:
      return placement.vcpuPins[String(Number(key.slice('pin.'.length)))] ?? 'none';
  }
}

function pageSizeText(kib: number | undefined): string {
  switch (kib) {
    case undefined:
      return 'none';
    case 2048:
      return '2M';
    case 1_048_576:
      return '1G';
    default:
      return mibText(kib / 1024);
  }
}
