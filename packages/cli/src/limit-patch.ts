/**
 * Reads `KEY=VALUE` words into what the API takes: a patch of an instance or policy, or the limits of a new one. All words are read before
 * anything is asked, so that one wrong word changes nothing. An empty value takes out, `none` or 0 is no limit.
 */
import type {
  Instance,
  InstanceDevice,
  InstanceUpdate,
  Limits,
  LimitsPatch,
  NicLimits,
  Throttle,
  Tuning,
} from '@wirt/api';
import { parseCpuList, parseCpuTopology } from './cpu-list.ts';
import { deviceText, parseDevice } from './device-value.ts';
import { findKey, isShared, type Key, keySpecs, nearestKey, type Unit, unitTexts } from './limit-keys.ts';
import {
  byteRateText,
  coresText,
  countText,
  mibValueText,
  millisecondsText,
  parseBurstBytes,
  parseByteRate,
  parseCores,
  parseCount,
  parseMibOrNone,
  parseMilliseconds,
  parseNetworkRate,
  parseRate,
  parseSwitch,
  type RateValue,
  rateValueText,
} from './limit-units.ts';
import { usageError } from './parse.ts';
import { BadValue, parseInteger, parseMib, parsePair, quote } from './units.ts';

export type LimitValue = number | boolean | string | RateValue;

export interface Assignment extends Key {
  /** null: taken out. */
  readonly value: LimitValue | null;
}

/** As in the contract, whose schemas are not loaded here. */
const most = {
  cpus: 4096,
  memoryMib: 67_108_864,
  ceilingMib: 68_000_000,
  operations: Number.MAX_SAFE_INTEGER,
  packets: 1_000_000_000,
} as const;

/** What is one of a few words. */
const choices = {
  restart: ['never', 'on-failure', 'always'],
  profile: ['balanced', 'latency', 'density'],
  pages: ['none', '2M', '1G'],
  placement: ['none', 'auto'],
} as const;

function parseChoice(text: string, known: readonly string[]): string {
  if (!known.includes(text)) throw new BadValue(`takes ${known.join(', ')}, and not ${quote(text)}`);
  return text;
}

/** Throws BadValue with the end of a sentence that begins with the key. */
export function parseLimit(unit: Unit, text: string): LimitValue {
  switch (unit) {
    case 'cores':
      return parseCores(text);
    case 'weight':
      return parseCount(text, 10_000);
    case 'time':
      return parseMilliseconds(text);
    case 'size':
      return parseMibOrNone(text, most.memoryMib);
    case 'ceiling':
      return text === 'auto' ? text : parseMibOrNone(text, most.ceilingMib);
    case 'swap':
      if (text === 'none')
        throw new BadValue('takes 0 where nothing may be swapped out, and an empty value where all may be');
      return parseMibOrNone(text, most.memoryMib);
    case 'switch':
      return parseSwitch(text);
    case 'byte-rate':
      return parseRate(text, parseByteRate);
    case 'operation-rate':
      return parseRate(text, (one) => parseCount(one, most.operations));
    case 'network-rate':
      return parseNetworkRate(text);
    case 'network-burst':
      return parseBurstBytes(text);
    case 'packets':
      return parseCount(text, most.packets);
    case 'vcpus':
      return parseInteger(text, 1, most.cpus);
    case 'memory':
      return parseMemory(text);
    case 'restart':
    case 'profile':
    case 'pages':
    case 'placement':
      return parseChoice(text, choices[unit]);
    case 'yes-no':
      return parseYesNo(text);
    case 'cpu-list':
      return parseCpuList(text);
    case 'cpu-topology': {
      const { sockets, cores, threads } = parseCpuTopology(text);
      return [sockets, cores, threads].join(',');
    }
    case 'device':
      return deviceText(parseDevice('', text));
    case 'text':
    case 'optional-text':
      return text;
  }
}

function parseYesNo(text: string): boolean {
  if (!['yes', 'no', 'on', 'off'].includes(text))
    throw new BadValue(`takes yes or no, and not ${quote(text)}`);
  return text === 'yes' || text === 'on';
}

function parseMemory(text: string): number {
  const mib = parseMib(text);
  if (mib < 32 || mib > most.memoryMib) throw new BadValue(`must be from 32M to 64T, and is ${text}`);
  return mib;
}

/** The value as it is typed: `parseLimit` reads it back. */
export function limitText(unit: Unit, value: LimitValue): string {
  if (typeof value === 'boolean') return unit === 'yes-no' ? (value ? 'yes' : 'no') : value ? 'on' : 'off';
  if (typeof value === 'string') return value;
  if (typeof value === 'object')
    return rateValueText(value, unit === 'operation-rate' ? countText : (bytes) => byteRateText(bytes));
  switch (unit) {
    case 'cores':
      return coresText(value);
    case 'time':
      return millisecondsText(value);
    case 'size':
    case 'ceiling':
    case 'memory':
      return mibValueText(value);
    case 'swap':
      return value === 0 ? '0' : mibValueText(value);
    case 'network-rate':
      return byteRateText(value, 'bits');
    case 'byte-rate':
    case 'network-burst':
      return byteRateText(value);
    default:
      return countText(value);
  }
}

/** Whose words they are: their messages name the command, and only its keys are known. */
export interface Words {
  readonly command: string;
  readonly for: 'instance' | 'policy';
}

export function readAssignments(texts: readonly string[], words: Words): Assignment[] {
  const found = texts.map((text) => readAssignment(text, words));
  const twice = found.find(({ key }, at) => found.findIndex((other) => other.key === key) !== at);
  if (twice !== undefined)
    throw usageError(words.command, `${twice.key} was given twice, and it takes one value.`);
  return found;
}

function readAssignment(text: string, words: Words): Assignment {
  const [typed, value] = pairOf(text, words);
  const key = findKey(typed);
  if (key === undefined) throw unknownKey(typed, words);
  if (words.for === 'policy' && !isShared(key.spec))
    throw usageError(
      words.command,
      `${typed} is of one instance, and a policy has limits that several share.`,
      `Keys of policies: \`wirt help ${words.command}\`.`,
    );
  if (value === '') return { ...key, value: emptied(key, words) };
  if (typed === 'policy' && value === 'none') return { ...key, value: null };
  try {
    return { ...key, value: parseLimit(key.spec.unit, value) };
  } catch (error) {
    if (!(error instanceof BadValue)) throw error;
    throw usageError(
      words.command,
      `${typed}=${value} cannot be: ${typed} ${error.message}.`,
      `${typed} takes: ${unitTexts[key.spec.unit]}.`,
    );
  }
}

function pairOf(text: string, { command }: Words): [key: string, value: string] {
  try {
    return parsePair(text);
  } catch (error) {
    if (!(error instanceof BadValue)) throw error;
    throw usageError(command, `wirt ${command} ${error.message}.`, `Keys: \`wirt help ${command}\`.`);
  }
}

function unknownKey(typed: string, { command, for: whose }: Words): Error {
  const near = nearestKey(typed, whose === 'policy' ? keySpecs.filter(isShared) : keySpecs);
  return usageError(
    command,
    `wirt ${command} knows no key ${quote(typed)}.`,
    near === undefined
      ? `Keys: \`wirt help ${command}\`.`
      : `Did you mean ${near}? All: \`wirt help ${command}\`.`,
  );
}

/** What always has a value cannot be taken out. */
function emptied({ key, spec }: Key, { command }: Words): null {
  const fixed = ['cpus', 'memory', 'restart', 'autostart', 'vsock', 'name'];
  if (fixed.includes(spec.key))
    throw usageError(
      command,
      `${key} always has a value, and cannot be taken out.`,
      `${key} takes: ${unitTexts[spec.unit]}.`,
    );
  return null;
}

type Tree = { [name: string]: unknown };

function put(tree: Tree, path: readonly string[], value: unknown): void {
  const [first = '', ...rest] = path;
  if (rest.length === 0) tree[first] = value;
  else put((tree[first] ??= {}) as Tree, rest, value);
}

/** A topology is kept as it is written. */
function tuningValue(field: keyof Tuning, value: LimitValue | null): unknown {
  return field === 'topology' && typeof value === 'string' ? parseCpuTopology(value) : value;
}

/** What `wirt set` sends; labels, pins of vCPUs and devices apart, since they are replaced as a whole. */
export function updateOf(assignments: readonly Assignment[]): InstanceUpdate {
  const tree: Tree = {};
  for (const { spec, name = '', value } of assignments) {
    const { place } = spec;
    switch (place.in) {
      case 'limits':
        put(tree, ['spec', 'limits', ...place.path], value);
        break;
      case 'disk':
        put(tree, ['spec', 'disks', name, 'limits', ...place.path], value);
        break;
      case 'nic':
        put(tree, ['spec', 'nics', name, 'limits', ...place.path], value);
        break;
      case 'spec':
        put(tree, ['spec', ...place.path], value);
        break;
      case 'record':
        put(tree, place.path, value);
        break;
      case 'tuning':
        put(tree, ['spec', 'tuning', ...place.path], tuningValue(place.path[0], value));
        break;
      case 'label':
      case 'pin':
      case 'device':
        break;
    }
  }
  // Built by the table of keys, whose test holds every key against the schema.
  return tree;
}

/** The limits among them, as a policy’s patch. */
export function limitsPatchOf(assignments: readonly Assignment[]): LimitsPatch {
  return updateOf(assignments).spec?.limits ?? {};
}

/** The same without what is taken out, for what is new. */
export function limitsOf(assignments: readonly Assignment[]): Limits {
  return limitsPatchOf(assignments.filter(({ value }) => value !== null)) as Limits;
}

/** The labels as they will be, or undefined when none is named. */
export function labelsAfter(
  assignments: readonly Assignment[],
  labels: Instance['labels'],
): Instance['labels'] | undefined {
  const named = assignments.filter(({ spec }) => spec.place.in === 'label');
  if (named.length === 0) return undefined;
  const after = new Map(Object.entries(labels));
  for (const { name = '', value } of named) {
    if (value === null) after.delete(name);
    else after.set(name, limitText('text', value));
  }
  return Object.fromEntries(after);
}

/** The pins of vCPUs as they will be, null for none, or undefined when none is named. */
export function pinsAfter(
  assignments: readonly Assignment[],
  pins: Tuning['vcpuPins'] = {},
): Readonly<Record<string, string>> | null | undefined {
  const named = assignments.filter(({ spec }) => spec.place.in === 'pin');
  if (named.length === 0) return undefined;
  const after = new Map(Object.entries(pins));
  for (const { name = '', value } of named) {
    const vcpu = String(Number(name));
    if (value === null) after.delete(vcpu);
    else after.set(vcpu, limitText('cpu-list', value));
  }
  return after.size === 0 ? null : Object.fromEntries(after);
}

/** The devices of the host that it will ask for, null for none, or undefined when none is named. */
export function devicesAfter(
  assignments: readonly Assignment[],
  devices: readonly InstanceDevice[] = [],
): InstanceDevice[] | null | undefined {
  const named = assignments.filter(({ spec }) => spec.place.in === 'device');
  if (named.length === 0) return undefined;
  const after = new Map(devices.map((device) => [device.name, device]));
  for (const { name = '', value } of named) {
    if (value === null) after.delete(name);
    else after.set(name, parseDevice(name, limitText('device', value)));
  }
  return after.size === 0 ? null : [...after.values()];
}

/** Limits of single disks and cards, by name. */
export function limitsByName(assignments: readonly Assignment[]): {
  readonly disks: ReadonlyMap<string, Throttle>;
  readonly nics: ReadonlyMap<string, NicLimits>;
} {
  const { disks = {}, nics = {} } = updateOf(assignments).spec ?? {};
  const entries = <T>(of: Readonly<Record<string, { limits: unknown }>>): Map<string, T> =>
    new Map(Object.entries(of).map(([name, { limits }]) => [name, limits as T]));
  return { disks: entries<Throttle>(disks), nics: entries<NicLimits>(nics) };
}
