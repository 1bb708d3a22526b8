/** Reads a command's arguments by its description. Whatever is wrong is told with the option's name and a way out. */
import { WirtError } from '@wirt/api/errors';
import type { ArgumentSpec, Command, OptionSpec, OptionSpecs } from './command.ts';
import { nearest } from './nearest.ts';
import { type OutputKind, outputKinds } from './print.ts';
import {
  BadValue,
  parseBytes,
  parseControlKey,
  parseInteger,
  parseMib,
  parsePair,
  parseSeconds,
  quote,
} from './units.ts';

// An `import` of node:util evaluates all of its lazy getters: 3 ms of `wirt ls`.
const { parseArgs } = process.getBuiltinModule('node:util');

/** Options that every command has. */
export const globalOptions = {
  output: {
    kind: 'choice',
    short: 'o',
    choices: outputKinds,
    default: 'table',
    summary: 'How to print the result',
  },
  socket: { kind: 'text', value: 'PATH', complete: 'file', summary: 'Socket of wirtd (WIRT_SOCKET)' },
  help: { kind: 'flag', short: 'h', summary: 'Show this help' },
} as const satisfies OptionSpecs;

export interface Parsed {
  readonly args: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly options: Readonly<Record<string, unknown>>;
  readonly output: OutputKind;
  readonly socket: string | undefined;
  readonly help: boolean;
}

export function usageError(name: string, message: string, hint?: string): WirtError {
  return new WirtError('request.invalid', message, {
    hint: hint ?? `See \`wirt ${name} --help\`.`.replace('  ', ' '),
  });
}

/** Throws `request.invalid` (exit code 2). With `--help`, what is missing is not asked for. */
export function parseCommand(name: string, spec: Command, argv: readonly string[]): Parsed {
  const specs: OptionSpecs = { ...spec.options, ...globalOptions };
  const { positionals, given } = tokenize(name, spec, specs, argv);
  const help = given.has('help');
  const options: Record<string, unknown> = {};
  for (const [option, each] of Object.entries(specs)) {
    options[option] = optionValue(name, option, each, given.get(option) ?? []);
  }
  return {
    args: help ? {} : assignArguments(name, spec, positionals),
    options,
    output: options['output'] as OutputKind,
    socket: options['socket'] as string | undefined,
    help,
  };
}

/** Raw values by option; a flag has one empty value. */
type Given = ReadonlyMap<string, readonly string[]>;

function tokenize(name: string, spec: Command, specs: OptionSpecs, argv: readonly string[]) {
  const { tokens, positionals } = parseArgs({
    args: [...argv],
    strict: false,
    allowPositionals: true,
    tokens: true,
    options: Object.fromEntries(
      Object.entries(specs).map(([option, { kind, short }]) => [
        option,
        {
          type: kind === 'flag' ? 'boolean' : 'string',
          multiple: true,
          ...(short ? { short } : {}),
        } as const,
      ]),
    ),
  });
  const given = new Map<string, string[]>();
  for (const token of tokens) {
    if (token.kind !== 'option') continue;
    const each = Object.hasOwn(specs, token.name) ? specs[token.name] : undefined;
    if (each === undefined) throw unknownOption(name, spec, token.rawName, Object.keys(specs));
    const value = token.value ?? '';
    if (each.kind === 'flag') {
      if (token.value !== undefined)
        throw usageError(name, `${token.rawName} is a switch and takes no value.`);
    } else if (token.value === undefined || (!token.inlineValue && /^-./.test(value))) {
      throw usageError(name, `${token.rawName} needs a value: ${token.rawName} ${placeholder(each)}.`);
    }
    given.set(token.name, [...(given.get(token.name) ?? []), value]);
  }
  return { positionals, given: given as Given };
}

function unknownOption(name: string, spec: Command, raw: string, known: readonly string[]): WirtError {
  const near = raw.startsWith('--') ? nearest(raw.slice(2), known) : undefined;
  if (near !== undefined)
    return usageError(name, `${quote(raw)} is no option of wirt ${name}.`, `Did you mean --${near}?`);
  // Commands that take a command line of their own need the options told apart.
  const own = Object.values(spec.arguments).some(({ complete }) => complete === 'command');
  return usageError(
    name,
    `${quote(raw)} is no option of wirt ${name}.`,
    own ? `Put -- before the command: \`wirt ${name} NAME -- COMMAND ${raw}\`.` : undefined,
  );
}

/** What stands for the option's value in help and messages. */
export function placeholder(spec: OptionSpec): string {
  if (spec.kind === 'flag') return '';
  return spec.kind === 'choice' ? spec.choices.join('|') : spec.value;
}

function optionValue(name: string, option: string, spec: OptionSpec, raw: readonly string[]): unknown {
  if (spec.kind === 'flag') return raw.length > 0;
  const values = raw.map((text) => {
    try {
      return convert(spec, text);
    } catch (error) {
      if (error instanceof BadValue) throw usageError(name, `--${option} ${error.message}.`);
      throw error;
    }
  });
  if (spec.many === true) return values;
  if (values.length > 1)
    throw usageError(name, `--${option} was given ${values.length} times, and it takes one value.`);
  if (values.length === 1) return values[0];
  return 'default' in spec && spec.kind === 'control-key' && spec.default !== undefined
    ? parseControlKey(spec.default)
    : 'default' in spec
      ? spec.default
      : undefined;
}

function convert(spec: Exclude<OptionSpec, { kind: 'flag' }>, text: string): unknown {
  switch (spec.kind) {
    case 'text':
      if (text === '') throw new BadValue('must not be empty');
      return text;
    case 'choice': {
      if (spec.choices.includes(text)) return text;
      const near = nearest(text, spec.choices);
      const offer = near === undefined ? '' : ` (did you mean ${near}?)`;
      throw new BadValue(`takes ${spec.choices.join(', ')}, and not ${quote(text)}${offer}`);
    }
    case 'integer':
      return parseInteger(text, spec.min, spec.max);
    case 'mib':
      return parseMib(text);
    case 'bytes':
      return parseBytes(text);
    case 'seconds':
      return parseSeconds(text);
    case 'pair':
      return parsePair(text);
    case 'control-key':
      return parseControlKey(text);
  }
}

function assignArguments(name: string, spec: Command, positionals: readonly string[]): Parsed['args'] {
  const rest = [...positionals];
  const args: Record<string, string | string[] | undefined> = {};
  for (const [argument, each] of Object.entries(spec.arguments)) {
    const label = argument.toUpperCase();
    if (rest.length === 0 && each.optional !== true)
      throw usageError(name, `wirt ${name} needs ${label}: ${each.summary}.`);
    args[argument] = each.many === true ? rest.splice(0) : rest.shift();
    checkArgument(name, label, each, args[argument]);
  }
  const extra = rest[0];
  if (extra !== undefined) throw usageError(name, `wirt ${name} takes no further argument ${quote(extra)}.`);
  return args;
}

function checkArgument(
  name: string,
  label: string,
  spec: ArgumentSpec,
  value: string | string[] | undefined,
): void {
  const values = value === undefined ? [] : [value].flat();
  // An empty name would address the list and not one of its members.
  if (spec.complete !== 'command' && values.includes(''))
    throw usageError(name, `${label} must not be empty.`);
  const wrong = spec.choices === undefined ? undefined : values.find((each) => !spec.choices?.includes(each));
  if (wrong !== undefined)
    throw usageError(name, `${label} is ${spec.choices?.join(', ')}, and not ${quote(wrong)}.`);
}
