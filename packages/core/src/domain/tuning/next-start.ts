/**
 * Says, where the tuning of a guest was changed while it runs, what its next start will bring: a word more at each setting that waits. What it
 * will get of the host then, such as its nodes, is not known before.
 */
import type { Instance, Tuning, TuningSetting } from '@wirt/api';
import { weightOf } from '../limits/wanted.ts';
import { defaultProfile, pageSizeText, profileOf } from './profile.ts';
import { isDedicated, pageSizeOf, placementOf, userPinsOf } from './request.ts';

type Shape = Pick<Instance, 'spec' | 'status'>;

interface Change {
  /** With what is asked for by now. */
  readonly asked: Shape;
  /** The same instance, with the tuning that it was started with. */
  readonly started: Shape;
}

export function withNextStart(
  settings: readonly TuningSetting[],
  { asked, started }: Change,
): TuningSetting[] {
  if (asked.status.run === undefined) return [...settings];
  const [before, after] = [choicesOf(started), choicesOf(asked)];
  return withRows(settings, { before, after, tuning: started.spec.tuning }).map((row) => {
    const next = after.get(row.setting);
    // A reason of its own below another has no value.
    if (next === undefined || row.value === '' || row.value === next) return row;
    return waits(row, started, { was: before.get(row.setting), next })
      ? { ...row, why: `${row.why} From its next start: ${shortened(next)}.` }
      : row;
  });
}

const shownCharacters = 80;

/** The pins of a wide guest would push all else out of sight; its spec has them whole. */
function shortened(text: string): string {
  return text.length > shownCharacters ? `${text.slice(0, shownCharacters)}…` : text;
}

interface Choice {
  readonly was: string | undefined;
  readonly next: string;
}

function waits({ setting, value }: TuningSetting, { spec }: Shape, { was, next }: Choice): boolean {
  switch (setting) {
    case 'memory.merge':
      // It is known of a guest also where its tuning was not kept.
      return true;
    case 'memory.free-page-reporting':
      return was !== next || spec.limits?.memory?.freePageReporting !== undefined;
    case 'cpu.weight':
      // Another value is its policy’s, which its profile does not change.
      return was !== next && was === value;
    default:
      return was !== next;
  }
}

/** What is not told of every guest is told where it changes. */
function withRows(
  settings: readonly TuningSetting[],
  {
    before,
    after,
    tuning,
  }: {
    readonly before: ReadonlyMap<string, string>;
    readonly after: ReadonlyMap<string, string>;
    readonly tuning: Tuning | undefined;
  },
): TuningSetting[] {
  const row = (setting: 'profile' | 'pins', isOwn: boolean, why: string): TuningSetting[] => {
    const value = before.get(setting) ?? '';
    const isTold = settings.some((each) => each.setting === setting);
    if (isTold || value === after.get(setting)) return [];
    return [{ setting, value, from: isOwn ? 'spec' : 'default', why }];
  };
  return [
    ...row('profile', tuning?.profile !== undefined, 'As it was started.'),
    ...settings,
    ...row('pins', userPinsOf({ spec: { tuning } }) !== undefined, 'Where its threads run.'),
  ];
}

const yesOrNo = (is: boolean): string => (is ? 'yes' : 'no');
const asPlaced = 'as it is placed';

/** By setting, in words; the same words are the same choice. */
function choicesOf({ spec }: Shape): ReadonlyMap<string, string> {
  const { tuning, limits, cpus } = spec;
  const profile = profileOf(tuning);
  const sizeKib = pageSizeOf({ spec });
  return new Map([
    ['profile', tuning?.profile ?? defaultProfile],
    ['topology', topologyText(tuning?.topology)],
    ['cpu.weight', String(limits?.cpu?.weight ?? weightOf(tuning, cpus) ?? 100)],
    ['hugepages', pagesText(sizeKib, tuning)],
    ['memory.merge', yesOrNo(profile.mergeable && sizeKib === undefined)],
    ['memory.free-page-reporting', yesOrNo(limits?.memory?.freePageReporting ?? profile.freePageReporting)],
    ['placement', placementOf({ spec })],
    ['dedicated', yesOrNo(isDedicated({ spec }))],
    ['pins', pinsText({ spec })],
  ]);
}

function topologyText(topology: Tuning['topology']): string {
  return topology === undefined ? asPlaced : `${topology.sockets},${topology.cores},${topology.threads}`;
}

/** Those of a profile are left out where there are none. */
function pagesText(sizeKib: number | undefined, tuning: Tuning | undefined): string {
  if (sizeKib === undefined) return 'none';
  const size = pageSizeText(sizeKib);
  return tuning?.hugePages === undefined ? `${size} where the host has some` : size;
}

function pinsText({ spec }: Pick<Instance, 'spec'>): string {
  const { vcpus = {}, emulator, iothreads } = userPinsOf({ spec }) ?? {};
  const pins = Object.entries({ ...vcpus, emulator, iothreads }).flatMap(([thread, cpus]) =>
    cpus === undefined ? [] : [`${thread}: ${cpus}`],
  );
  return pins.length === 0 ? asPlaced : pins.join(', ');
}
