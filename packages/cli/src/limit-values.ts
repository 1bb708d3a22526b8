/** The limits of records as values by key: what an instance and its policy want, and what was read back from where it acts. */
import type { EffectiveLimits, Instance, LimitGap, Limits } from '@wirt/api';
import { findKey, type KeySpec, keySpecs } from './limit-keys.ts';
import { type LimitValue, limitText } from './limit-patch.ts';

export type Values = ReadonlyMap<string, LimitValue>;

function at(tree: unknown, path: readonly string[]): LimitValue | undefined {
  let found: unknown = tree;
  for (const name of path)
    found =
      typeof found === 'object' && found !== null ? (found as Record<string, unknown>)[name] : undefined;
  return found as LimitValue | undefined;
}

function collect(
  tree: unknown,
  specs: readonly KeySpec[],
  name: (spec: KeySpec) => string,
): [key: string, value: LimitValue][] {
  return specs.flatMap((spec): [string, LimitValue][] => {
    if (!('path' in spec.place)) return [];
    const value = at(tree, spec.place.path);
    return value === undefined ? [] : [[name(spec), value]];
  });
}

const shared = keySpecs.filter(({ place }) => place.in === 'limits');
const ofDisk = keySpecs.filter(({ place }) => place.in === 'disk');
const ofNic = keySpecs.filter(({ place }) => place.in === 'nic');

/** Of a policy, or what an instance has of its own for all. */
export function limitValues(limits: Limits | undefined): Values {
  return new Map(collect(limits, shared, ({ key }) => key));
}

function namedValues(limits: unknown, specs: readonly KeySpec[], name: string): [string, LimitValue][] {
  return collect(limits, specs, ({ key }) => key.replace(/NAME|NIC/, name));
}

/** What was read back, each disk and card by its name. */
export function effectiveValues(effective: EffectiveLimits): Values {
  const { disks = {}, nics = {}, cpus, memoryMib } = effective;
  return new Map([
    ...(cpus === undefined ? [] : [['cpus', cpus] as [string, LimitValue]]),
    ...(memoryMib === undefined ? [] : [['memory', memoryMib] as [string, LimitValue]]),
    ...collect(effective, shared, ({ key }) => key),
    ...Object.entries(disks).flatMap(([name, limits]) => namedValues(limits, ofDisk, name)),
    ...Object.entries(nics).flatMap(([name, limits]) => namedValues(limits, ofNic, name)),
  ]);
}

export interface Wanted {
  readonly value: LimitValue;
  /** Its own, its own for each disk or card, or of which policy. */
  readonly from: string;
}

/** What an instance is to be held to, each disk and card by its name, and where each value is from. Nearer ones win. */
export function wantedValues(
  { spec }: Pick<Instance, 'spec'>,
  policy: { readonly name: string; readonly limits: Limits } | undefined,
): ReadonlyMap<string, Wanted> {
  const [own, theirs] = [limitValues(spec.limits), limitValues(policy?.limits)];
  const from = `policy ${policy?.name ?? ''}`;
  const wanted = new Map<string, Wanted>();
  const add = (key: string, layers: readonly (readonly [source: string, Values, under: string])[]): void => {
    for (const [source, values, under] of layers) {
      const value = values.get(under);
      if (value !== undefined) wanted.set(key, { value, from: source });
      if (value !== undefined || excludes(values, under)) return;
    }
  };
  for (const { key } of shared) {
    if (/^(each-disk|network)\./.test(key)) continue;
    add(key, [
      ['own', own, key],
      [from, theirs, key],
    ]);
  }
  for (const disk of spec.disks) {
    if (disk.device !== 'disk') continue;
    const named = new Map(namedValues(disk.limits, ofDisk, disk.name));
    for (const { key } of ofDisk) {
      const [full, each] = [key.replace('NAME', disk.name), key.replace('disk.NAME', 'each-disk')];
      add(full, [
        ['own', named, full],
        ['own, each disk', own, each],
        [from, theirs, each],
      ]);
    }
  }
  for (const nic of spec.nics) {
    const named = new Map(namedValues(nic.limits, ofNic, nic.name));
    for (const { key } of ofNic) {
      const [full, each] = [key.replace('NIC', nic.name), key.replace('network.NIC', 'network')];
      add(full, [
        ['own', named, full],
        ['own, each card', own, each],
        [from, theirs, each],
      ]);
    }
  }
  return wanted;
}

/** QEMU has a total or its parts: a nearer total displaces the parts further off, and the other way round. */
function excludes(nearer: Values, key: string): boolean {
  const match = /^(.*)\.(read|write|total)(-ops)?$/.exec(key);
  if (match === null) return false;
  const [, scope, word, kind = ''] = match;
  const others = word === 'total' ? ['read', 'write'] : ['total'];
  return others.some((other) => isLimit(nearer.get(`${scope}.${other}${kind}`)));
}

function isLimit(value: LimitValue | undefined): boolean {
  return typeof value === 'object' && value.rate > 0;
}

/** The value of a key: what the balloon leaves is read back as the memory that the guest has. */
export function foundAt(effective: Values, key: string): LimitValue | undefined {
  return effective.get(key) ?? (key === 'memory.balloon' ? effective.get('memory') : undefined);
}

/** A value by the unit of its key. */
export function valueText(key: string, value: LimitValue): string {
  return limitText(findKey(key)?.spec.unit ?? 'text', value);
}

/** `disk.vda.read burst` is a part of `disk.vda.read`. */
export function gapKey({ key }: LimitGap): string {
  return key.split(' ')[0] ?? key;
}

/** What a gap says of its value: numbers are in the units of the contract. */
export function gapText(key: string, text: string): string {
  if (text === 'true' || text === 'false') return text === 'true' ? 'on' : 'off';
  if (!/^\d+(\.\d+)?$/.test(text)) return text;
  const [main = key, part = ''] = key.split(/ (.*)/s);
  if (part.endsWith('seconds')) return `${text}s`;
  const found = findKey(main);
  if (found === undefined) return text;
  const { unit } = found.spec;
  if (unit === 'switch') return text === '1' ? 'on' : 'off';
  return limitText(unit, Number(text));
}

/** Whether a gap tells of what was set by this key: that for each disk or card is found at every one of them. */
export function concerns(key: string, gap: LimitGap): boolean {
  const told = gapKey(gap);
  if (told === key || key === 'policy') return true;
  // What the balloon leaves is the memory that the guest has.
  if (key === 'memory.balloon') return told === 'memory';
  const each = /^each-disk\.(.*)$/.exec(key);
  if (each !== null) return new RegExp(`^disk\\.[^.]+\\.${each[1]}$`).test(told);
  const card = /^network\.([^.]+)$/.exec(key);
  return card !== null && new RegExp(`^network\\.[^.]+\\.${card[1]}$`).test(told);
}
