/**
 * What could come next on a command line that is being typed, from the same descriptions that the parser uses. Names
 * come live from the daemon, within a short deadline; a daemon that does not answer just completes nothing.
 */
import {
  type Command,
  type Completable,
  type Entry,
  entriesBelow,
  findEntry,
  type NamedKind,
  type OptionSpec,
  type OptionSpecs,
} from './command.ts';
import { hostKeys } from './host-keys.ts';
import { isShared, type KeySpec, keySpecs, unitTexts } from './limit-keys.ts';
import { globalOptions } from './parse.ts';

export interface Candidate {
  readonly value: string;
  readonly description: string;
}

export interface Completion {
  readonly candidates: readonly Candidate[];
  /** The shell shall offer file names too. */
  readonly files: boolean;
}

/** Names of a kind that begin with the prefix, of snapshots and rules those of the instance or group `of`. Gives nothing rather than fail. */
export type NameSource = (kind: NamedKind, prefix: string, of?: string) => Promise<readonly Candidate[]>;

const nothing: Completion = { candidates: [], files: false };

/** `typed` are the words after `wirt`; the last is the one being completed, and may be empty. */
export async function complete(
  entries: readonly Entry[],
  typed: readonly string[],
  names: NameSource,
): Promise<Completion> {
  // Bash takes `--output=js` apart at the sign, into three words.
  const words = typed.filter((word) => word !== '=');
  if (typed.at(-1) === '=') words.push('');
  const key = settingBefore(typed);
  if (key !== undefined) {
    const value = words.pop() ?? '';
    const { candidates, files } = await complete(entries, [...words.slice(0, -1), `${key}=${value}`], names);
    // Bash replaces only what is behind the sign.
    return {
      files,
      candidates: candidates.map((each) => ({ ...each, value: each.value.slice(key.length + 1) })),
    };
  }
  const current = words.at(-1) ?? '';
  const before = words.slice(0, -1);
  const start = skipOptions(before, globalOptions);
  const commandWords = before.slice(start);
  const found = findEntry(entries, commandWords);
  const asked = optionAwaiting(before.at(-1), found === undefined ? globalOptions : undefined);
  if (asked !== undefined) return completeValue(asked, current, '', names);
  const next = nextWords(entries, commandWords, current);
  if (found === undefined)
    return current.startsWith('-') ? optionNames(globalOptions, current) : asCompletion(next);
  const { commands } = await found.entry.load();
  const command = commands[found.entry.name];
  if (command === undefined) return nothing;
  const own = await completeIn(command, commandWords.slice(found.words), current, names);
  return { ...own, candidates: [...next, ...own.candidates] };
}

/** The key of `KEY = VALUE` that Bash took apart, where the value is being completed; options are not meant. */
function settingBefore(typed: readonly string[]): string | undefined {
  const sign = typed.at(-1) === '=' ? typed.length - 1 : typed.length - 2;
  const key = typed[sign] === '=' ? typed[sign - 1] : undefined;
  return key === undefined || key.startsWith('-') ? undefined : key;
}

function asCompletion(candidates: readonly Candidate[]): Completion {
  return { candidates, files: false };
}

/** Command words that may follow: all first ones, or those below a first one. */
function nextWords(entries: readonly Entry[], given: readonly string[], current: string): Candidate[] {
  if (current.startsWith('-')) return [];
  const at = given.length;
  const possible = at === 0 ? entries : entriesBelow(entries, given.join(' '));
  const found = new Map<string, string>();
  for (const { name, summary, hidden } of possible) {
    const word = name.split(' ')[at];
    if (hidden === true || word === undefined || !word.startsWith(current)) continue;
    const others = entriesBelow(entries, [...given, word].join(' ')).length > 0;
    if (!found.has(word)) found.set(word, others ? `${summary}, and more` : summary);
  }
  return [...found].map(([value, description]) => ({ value, description }));
}

async function completeIn(
  command: Command,
  given: readonly string[],
  current: string,
  names: NameSource,
): Promise<Completion> {
  const options: OptionSpecs = { ...command.options, ...globalOptions };
  const ended = given.indexOf('--');
  if (ended >= 0) return nothing;
  const asked = optionAwaiting(given.at(-1), options);
  if (asked !== undefined) return completeValue(asked, current, '', names);
  const inline = /^--([a-z-]+)=(.*)$/s.exec(current);
  if (inline !== null) {
    const spec = specOf(options, inline[1] ?? '');
    return spec === undefined ? nothing : completeValue(spec, inline[2] ?? '', `--${inline[1]}=`, names);
  }
  if (current.startsWith('-')) return optionNames(options, current);
  const positionals = positionalsOf(given, options);
  const specs = Object.values(command.arguments);
  const spec = specs[positionals.length] ?? (specs.at(-1)?.many === true ? specs.at(-1) : undefined);
  if (spec?.choices !== undefined) return asCompletion(choicesOf(spec.choices, current, ''));
  if (spec?.complete === undefined) return nothing;
  const completion = await completeKind(spec.complete, current, names, positionals[0]);
  return {
    ...completion,
    candidates: completion.candidates.filter(({ value }) => !positionals.includes(value)),
  };
}

function specOf(options: OptionSpecs, name: string): OptionSpec | undefined {
  return Object.hasOwn(options, name) ? options[name] : undefined;
}

/** The option before, when it still waits for its value. */
function optionAwaiting(word: string | undefined, options: OptionSpecs | undefined): OptionSpec | undefined {
  if (word === undefined || options === undefined || !word.startsWith('-') || word.includes('='))
    return undefined;
  const spec = word.startsWith('--')
    ? specOf(options, word.slice(2))
    : Object.values(options).find(({ short }) => short !== undefined && short === word.slice(1));
  return spec === undefined || spec.kind === 'flag' ? undefined : spec;
}

/** How many of the words are leading options with their values. */
function skipOptions(words: readonly string[], options: OptionSpecs): number {
  let at = 0;
  while (words[at]?.startsWith('-') === true) at += optionAwaiting(words[at], options) === undefined ? 1 : 2;
  return at;
}

function positionalsOf(words: readonly string[], options: OptionSpecs): string[] {
  return words.filter(
    (word, at) => !word.startsWith('-') && optionAwaiting(words[at - 1], options) === undefined,
  );
}

function optionNames(options: OptionSpecs, current: string): Completion {
  const all = Object.entries(options).map(([name, { summary }]) => ({
    value: `--${name}`,
    description: summary,
  }));
  return asCompletion(all.filter(({ value }) => value.startsWith(current)));
}

async function completeValue(
  spec: OptionSpec,
  current: string,
  lead: string,
  names: NameSource,
): Promise<Completion> {
  if (spec.kind === 'choice') return asCompletion(choicesOf(spec.choices, current, lead));
  if (spec.complete === undefined) return nothing;
  const { candidates, files } = await completeKind(spec.complete, current, names);
  return { candidates: candidates.map((each) => ({ ...each, value: lead + each.value })), files };
}

function choicesOf(choices: readonly string[], current: string, lead: string): Candidate[] {
  return choices
    .filter((choice) => choice.startsWith(current))
    .map((choice) => ({ value: lead + choice, description: '' }));
}

async function completeKind(
  kind: Completable,
  current: string,
  names: NameSource,
  of?: string,
): Promise<Completion> {
  switch (kind) {
    case 'instance':
    case 'image':
    case 'volume':
    case 'pool':
    case 'snapshot':
    case 'network':
    case 'nic':
    case 'security-group':
    case 'rule':
    case 'part':
    case 'policy':
    case 'operation':
      return asCompletion(await safeNames(kind, current, names, of));
    case 'file':
      return { candidates: [], files: true };
    case 'guest-file': {
      const instances = current.includes('/') ? [] : await safeNames('instance', current, names);
      return { candidates: instances.map((each) => ({ ...each, value: `${each.value}:` })), files: true };
    }
    case 'setting':
      return completeSetting(keySpecs, current, names, of);
    case 'policy-setting':
      return completeSetting(keySpecs.filter(isShared), current, names);
    case 'host-setting':
      return asCompletion(
        hostKeys
          .map(({ key, summary }) => ({ value: `${key}=`, description: summary }))
          .filter(({ value }) => value.startsWith(current)),
      );
    case 'command':
      return nothing;
  }
}

const settingValues: Readonly<Record<string, readonly string[]>> = {
  switch: ['on', 'off'],
  ceiling: ['auto', 'none'],
  restart: ['never', 'on-failure', 'always'],
  profile: ['balanced', 'latency', 'density'],
  pages: ['none', '2M', '1G'],
  placement: ['auto', 'none'],
  'yes-no': ['yes', 'no'],
};

/** The keys of the instance's disks and cards; asked for only where one of them has been begun. */
async function keysOfParts(current: string, names: NameSource, of: string | undefined): Promise<KeySpec[]> {
  if (of === undefined || !/^(disk|network)\./.test(current)) return [];
  const parts = (await names('part', '', of)).filter(({ value }) =>
    /^(disk|network)\.[a-z0-9-]+$/.test(value),
  );
  return parts.flatMap(({ value }) => {
    const pattern = value.startsWith('disk.') ? 'disk.NAME' : 'network.NIC';
    return keySpecs.flatMap((spec) =>
      spec.key.startsWith(`${pattern}.`) ? [{ ...spec, key: spec.key.replace(pattern, value) }] : [],
    );
  });
}

/** `KEY=`, and behind it the values where they are words. */
async function completeSetting(
  specs: readonly KeySpec[],
  current: string,
  names: NameSource,
  of?: string,
): Promise<Completion> {
  const at = current.indexOf('=');
  if (at < 0) {
    const known = specs.flatMap((spec) => (/[A-Z]/.test(spec.key) ? [] : [spec]));
    const found = [...known, ...(await keysOfParts(current, names, of))].filter(({ key }) =>
      key.startsWith(current),
    );
    return asCompletion(
      found.map(({ key, summary, unit }) => ({
        value: `${key}=`,
        description: `${summary}: ${unitTexts[unit]}`,
      })),
    );
  }
  const [key, value] = [current.slice(0, at), current.slice(at + 1)];
  const spec = specs.find((each) => each.key === key);
  const lead = (candidate: Candidate): Candidate => ({ ...candidate, value: `${key}=${candidate.value}` });
  if (key === 'policy') return asCompletion((await safeNames('policy', value, names)).map(lead));
  return asCompletion(choicesOf(settingValues[spec?.unit ?? ''] ?? [], value, `${key}=`));
}

/** A name goes into somebody's command line: only what no shell gives a meaning to. */
async function safeNames(
  kind: NamedKind,
  prefix: string,
  names: NameSource,
  of?: string,
): Promise<Candidate[]> {
  const found = await names(kind, prefix, of);
  return found.filter(({ value }) => value.startsWith(prefix) && isPlain(value));
}

/** A name, or INSTANCE/NIC. */
function isPlain(value: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._-]*(\/[A-Za-z0-9._-]+)?$/.test(value);
}
