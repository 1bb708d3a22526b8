/** From an argument list to an exit code: finds the command, loads it alone, parses, runs, prints. */
import { catalogue, otherWordFor } from './catalogue.ts';
import { type Command, type Entry, findEntry, findGroup, type Outcome } from './command.ts';
import { createContext } from './context.ts';
import { exitCodeOfAll, exitCodes } from './exit-code.ts';
import { type Io, write } from './io.ts';
import { nearest } from './nearest.ts';
import { globalOptions, type Parsed, parseCommand, usageError } from './parse.ts';
import { type OutputKind, outputKinds } from './print.ts';
import { socketPath } from './socket-path.ts';
import { quote } from './units.ts';
import { version } from './version.ts';

/** Runs one command line. Never throws: what goes wrong is printed, and told by the exit code. */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  try {
    return await dispatch(argv, io);
  } catch (error) {
    const { printFailure } = await import('./failure.ts');
    return printFailure(io, error, outputAsked(argv));
  }
}

async function dispatch(argv: readonly string[], io: Io): Promise<number> {
  const { leading, words } = splitLeading(argv);
  const [first] = words;
  if (first === undefined) {
    if (leading.includes('--version')) return say(io, `${version}\n`);
    const { overview } = await import('./help.ts');
    return say(io, overview());
  }
  if (first === 'help') return printHelp(io, words.slice(1));
  const found = findEntry(catalogue, words);
  if (found === undefined || isGroup(found.words, words)) return unknownCommand(io, words);
  const command = await loadCommand(found.entry);
  const parsed = parseCommand(found.entry.name, command, [...leading, ...words.slice(found.words)]);
  if (parsed.help) return printHelp(io, words.slice(0, found.words));
  return execute(io, command, parsed);
}

async function execute(io: Io, command: Command, parsed: Parsed): Promise<number> {
  const path = socketPath({ asked: parsed.socket, env: io.env, uid: io.uid });
  const context = createContext({ io, output: parsed.output, catalogue }, path);
  const outcome: Outcome = await command.run(context, { args: parsed.args, options: parsed.options });
  if (outcome.view !== undefined) await context.print(outcome.view);
  const failures = outcome.failures ?? [];
  if (failures.length > 0) {
    const { printFailure } = await import('./failure.ts');
    for (const failure of failures) await printFailure(io, failure, parsed.output);
  }
  return outcome.exitCode ?? exitCodeOfAll(failures);
}

async function loadCommand({ name, load }: Entry): Promise<Command> {
  const { commands } = await load();
  const command = commands[name];
  if (command === undefined) throw new Error(`The command ${name} is in the catalogue and not in its file.`);
  return command;
}

/** Options of every command may stand before it: `wirt --socket PATH ls`. */
function splitLeading(argv: readonly string[]): { leading: string[]; words: readonly string[] } {
  const takesValue = ['-o', '--output', '--socket'];
  let at = 0;
  while (argv[at]?.startsWith('-') === true && argv[at] !== '--')
    at += takesValue.includes(argv[at] ?? '') ? 2 : 1;
  const leading = argv.slice(0, at);
  for (const option of leading.filter(
    (each, index) => each.startsWith('-') && !takesValue.includes(leading[index - 1] ?? ''),
  )) {
    const name = option.replace(/^--?/, '').replace(/=.*$/s, '');
    const known = [
      'version',
      ...Object.entries(globalOptions).flatMap(([long, spec]) => ['short' in spec ? spec.short : long, long]),
    ];
    if (!known.includes(name) && !option.startsWith('-o'))
      throw usageError('', `${quote(option)} is no option of wirt.`, 'See `wirt help`.');
  }
  const words = argv.slice(at);
  return { leading: words.length > 0 ? leading.filter((each) => each !== '--version') : leading, words };
}

async function printHelp(io: Io, words: readonly string[]): Promise<number> {
  const { commandHelp, groupHelp, overview } = await import('./help.ts');
  const [first] = words;
  if (first === undefined) return say(io, overview());
  const found = findEntry(catalogue, words);
  if (found !== undefined && !isGroup(found.words, words))
    return say(io, commandHelp(found.entry, await loadCommand(found.entry)));
  const group = findGroup(catalogue, words);
  if (group !== undefined) return say(io, groupHelp(group.name, group.below));
  return unknownCommand(io, words);
}

/** Whether more words than those of a command are of a group: `host` is a command, and `host device` a group. */
function isGroup(found: number, words: readonly string[]): boolean {
  return (findGroup(catalogue, words)?.words ?? 0) > found;
}

async function unknownCommand(io: Io, words: readonly string[]): Promise<number> {
  const [first = ''] = words;
  const group = findGroup(catalogue, words);
  if (group !== undefined) {
    const next = words[group.words];
    const asksHelp = next === '--help' || next === '-h';
    if (asksHelp) return printHelp(io, words.slice(0, group.words));
    const names = group.below.map(({ name }) => name.slice(group.name.length + 1));
    if (next === undefined)
      throw usageError(
        '',
        `wirt ${group.name} needs a command: ${names.join(', ')}.`,
        `See \`wirt help ${group.name}\`.`,
      );
    const other = otherWordFor(next);
    const near = other !== undefined && names.includes(other) ? other : nearest(next, names);
    throw notKnown(`${group.name} ${next}`, near === undefined ? undefined : `${group.name} ${near}`);
  }
  const visibleNames = catalogue
    .filter(({ hidden }) => hidden !== true)
    .flatMap(({ name }) => [name, name.split(' ')[0] ?? name]);
  throw notKnown(first, otherWordFor(first) ?? nearest(first, [...new Set(visibleNames)]));
}

function notKnown(word: string, near: string | undefined): Error {
  return usageError(
    '',
    `wirt has no command ${quote(word)}.`,
    near === undefined ? 'See `wirt help`.' : `Did you mean \`wirt ${near}\`?`,
  );
}

async function say(io: Io, text: string): Promise<number> {
  await write(io.stdout, text);
  return exitCodes.ok;
}

/** The output asked for, found without parsing, for errors that come before it. */
function outputAsked(argv: readonly string[]): OutputKind {
  const end = argv.indexOf('--');
  const own = end < 0 ? argv : argv.slice(0, end);
  const found = own.flatMap((each, at) => {
    if (each === '-o' || each === '--output') return [own[at + 1] ?? ''];
    const inline = /^(?:--output=|-o=?)(\w+)$/.exec(each);
    return inline === null ? [] : [inline[1] ?? ''];
  });
  return outputKinds.find((kind) => kind === found[0]) ?? 'table';
}
