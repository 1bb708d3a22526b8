/** The description of a command: its arguments, options and examples as data, so that parser, help and completion agree. */
import type { Client } from '@wirt/api/client';
import type { Io } from './io.ts';
import type { OutputKind, View } from './print.ts';

/** What the daemon has names of. Parts are the disks and cards of an instance, as keys of limits begin with them: `disk.root`. */
export type NamedKind =
  | 'instance'
  | 'image'
  | 'volume'
  | 'pool'
  | 'snapshot'
  | 'network'
  | 'nic'
  | 'security-group'
  | 'rule'
  | 'part'
  | 'policy'
  | 'operation';

/** What the shell can complete. Snapshots are those of the instance, rules those of the group that is the first argument. */
export type Completable =
  | NamedKind
  | 'file'
  | 'guest-file'
  | 'command'
  /** KEY=VALUE of `wirt set`; those that policies have too. */
  | 'setting'
  | 'policy-setting'
  /** KEY=VALUE of `wirt host set`. */
  | 'host-setting';

/** What a command is given: the client, its process, and how to tell people things while it works. */
export interface Context {
  readonly io: Io;
  readonly output: OutputKind;
  /** Every command there is. */
  readonly catalogue: readonly Entry[];
  readonly socketPath: string;
  readonly client: Client;
  /** A client with other deadlines than the usual 30 s for the head of an answer. */
  clientWith(deadlines: { readonly answerMs?: number; readonly idleMs?: number }): Client;
  /** Prints a view at once; for commands that go on after it. */
  print(view: View): Promise<void>;
  /** Prints one line of a stream: text for people, the record for programs. */
  printLine(line: string, record: unknown): Promise<void>;
  /** A line on standard error, made safe for a terminal. */
  note(text: string): void;
  readonly colour: boolean;
}

interface OptionHead {
  readonly summary: string;
  readonly short?: string;
  /** May be given several times. */
  readonly many?: boolean;
  readonly complete?: Completable;
}

export type OptionSpec = OptionHead &
  (
    | { readonly kind: 'flag' }
    | { readonly kind: 'text'; readonly value: string }
    | { readonly kind: 'choice'; readonly choices: readonly string[]; readonly default?: string }
    | { readonly kind: 'integer'; readonly value: string; readonly min: number; readonly max: number }
    | { readonly kind: 'mib'; readonly value: string }
    | { readonly kind: 'bytes'; readonly value: string }
    | { readonly kind: 'seconds'; readonly value: string; readonly default?: number }
    | { readonly kind: 'pair'; readonly value: string }
    | { readonly kind: 'control-key'; readonly value: string; readonly default?: string }
  );

export interface ArgumentSpec {
  readonly summary: string;
  readonly optional?: boolean;
  /** Takes all that follow; only for the last one. */
  readonly many?: boolean;
  readonly complete?: Completable;
  readonly choices?: readonly string[];
}

export type OptionSpecs = Readonly<Record<string, OptionSpec>>;
export type ArgumentSpecs = Readonly<Record<string, ArgumentSpec>>;

type One<O extends OptionSpec> = O extends { kind: 'flag' }
  ? boolean
  : O extends { kind: 'choice'; choices: readonly (infer C)[] }
    ? C
    : O extends { kind: 'integer' | 'mib' | 'bytes' | 'seconds' | 'control-key' }
      ? number
      : O extends { kind: 'pair' }
        ? readonly [string, string]
        : string;

/** Options by name: a flag is true or false, the rest is absent unless it has a default. */
export type OptionValues<O extends OptionSpecs> = {
  readonly [K in keyof O]: O[K] extends { many: true }
    ? readonly One<O[K]>[]
    : O[K] extends { kind: 'flag' } | { default: unknown }
      ? One<O[K]>
      : One<O[K]> | undefined;
};

export type ArgumentValues<A extends ArgumentSpecs> = {
  readonly [K in keyof A]: A[K] extends { many: true }
    ? readonly string[]
    : A[K] extends { optional: true }
      ? string | undefined
      : string;
};

/** How a command ended: what to print, what failed beside it, and another exit code than theirs. */
export interface Outcome {
  readonly view?: View;
  readonly failures?: readonly unknown[];
  readonly exitCode?: number;
}

export interface Example {
  readonly line: string;
  readonly does: string;
}

export interface Command {
  readonly arguments: ArgumentSpecs;
  readonly options: OptionSpecs;
  /** One to three. */
  readonly examples: readonly Example[];
  /** More to say in the help, below the options. */
  readonly notes?: readonly string[];
  run(context: Context, values: { readonly args: object; readonly options: object }): Promise<Outcome>;
}

interface TypedCommand<A extends ArgumentSpecs, O extends OptionSpecs> extends Omit<Command, 'run'> {
  readonly arguments: A;
  readonly options: O;
  run(context: Context, values: { args: ArgumentValues<A>; options: OptionValues<O> }): Promise<Outcome>;
}

/** Declares a command; the values that `run` gets follow from its arguments and options. */
export function command<const A extends ArgumentSpecs, const O extends OptionSpecs>(
  typed: TypedCommand<A, O>,
): Command {
  // The parser makes the values by the same specs that the types are inferred from.
  return typed;
}

export type Commands = Readonly<Record<string, Command>>;

/** A command in the catalogue: what is known of it before it is loaded. */
export interface Entry {
  readonly name: string;
  readonly summary: string;
  readonly group:
    | 'Instances'
    | 'Inside a guest'
    | 'Images'
    | 'Disks'
    | 'Snapshots'
    | 'Networks'
    | 'Limits'
    | 'Moving in and out'
    | 'Host'
    | 'Work'
    | 'This command';
  readonly load: () => Promise<{ readonly commands: Commands }>;
  /** Not shown in help. */
  readonly hidden?: boolean;
}

/** The entry with the most words that `words` begins with, and how many they are. */
export function findEntry(
  entries: readonly Entry[],
  words: readonly string[],
): { readonly entry: Entry; readonly words: number } | undefined {
  for (const count of [3, 2, 1]) {
    const name = words.slice(0, count).join(' ');
    const entry = words.length >= count ? entries.find((each) => each.name === name) : undefined;
    if (entry !== undefined) return { entry, words: count };
  }
  return undefined;
}

/** The most words that `words` begins with and that have entries below them, such as `image` and `host device`. */
export function findGroup(
  entries: readonly Entry[],
  words: readonly string[],
): { readonly name: string; readonly below: readonly Entry[]; readonly words: number } | undefined {
  for (const count of [2, 1]) {
    const name = words.slice(0, count).join(' ');
    const below = words.length >= count ? entriesBelow(entries, name) : [];
    if (below.length > 0) return { name, below, words: count };
  }
  return undefined;
}

/** Entries below words: `image` has four. */
export function entriesBelow(entries: readonly Entry[], word: string): Entry[] {
  return entries.filter(({ name }) => name.startsWith(`${word} `));
}
