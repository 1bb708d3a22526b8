/** The help texts, made from the catalogue and from the commands' descriptions. */
import { catalogue } from './catalogue.ts';
import type { Command, Entry, OptionSpec } from './command.ts';
import { droppedExitCode, exitCodeMeanings } from './exit-code.ts';
import { globalOptions, placeholder } from './parse.ts';

/** `wirt help`: every command in its group. */
export function overview(): string {
  const groups = [...new Set(catalogue.map(({ group }) => group))];
  const blocks = groups.map((group) => {
    const entries = catalogue.filter((entry) => entry.group === group && entry.hidden !== true);
    return section(
      group,
      entries.map(({ name, summary }) => [name, summary]),
    );
  });
  return [
    'wirt: virtual machines on this host, through wirtd.\n',
    'Usage: wirt COMMAND [OPTIONS] [ARGUMENTS]\n',
    ...blocks,
    section('Options of every command', optionRows(globalOptions)),
    section('Exit codes', exitCodeRows()),
    'More: `wirt help COMMAND`. A first guest: `wirt image build micro`, then `wirt run micro`.\n',
  ].join('\n');
}

/** `wirt help image`: the commands below a word. */
export function groupHelp(word: string, entries: readonly Entry[]): string {
  return [
    `Usage: wirt ${word} COMMAND [OPTIONS] [ARGUMENTS]\n`,
    section(
      'Commands',
      entries.map(({ name, summary }) => [name, summary]),
    ),
    `More: \`wirt help ${entries[0]?.name ?? word}\`.\n`,
  ].join('\n');
}

/** Commands whose exit code is that of a program in the guest. */
const passesExitCode: readonly string[] = ['exec', 'ssh'];

/** The help of one command. */
export function commandHelp({ name, summary }: Entry, command: Command): string {
  const args = Object.entries(command.arguments);
  const usage = args.map(([argument, spec]) => {
    const label = `${argument.toUpperCase()}${spec.many === true ? '…' : ''}`;
    return spec.optional === true ? `[${label}]` : label;
  });
  const blocks = [`${summary}.\n`, `Usage: ${['wirt', name, '[OPTIONS]', ...usage].join(' ')}\n`];
  if (args.length > 0) {
    const rows = args.map(([argument, spec]) => [argument.toUpperCase(), withChoices(spec)] as const);
    blocks.push(section('Arguments', rows));
  }
  blocks.push(section('Options', [...optionRows(command.options), ...optionRows(globalOptions)]));
  blocks.push(
    ['Examples:', ...command.examples.map(({ line, does }) => `  ${line}\n      ${does}`)].join('\n') + '\n',
  );
  if (command.notes !== undefined) blocks.push(`${command.notes.join('\n')}\n`);
  if (!passesExitCode.includes(name))
    blocks.push(`Exit codes: ${exitCodeMeanings.map(([code, means]) => `${code} ${means}`).join('; ')}.\n`);
  return blocks.join('\n');
}

function withChoices({
  summary,
  choices,
}: {
  readonly summary: string;
  readonly choices?: readonly string[];
}): string {
  return choices === undefined ? summary : `${summary}: ${choices.join(', ')}`;
}

type Row = readonly [left: string, right: string];

function optionRows(options: Readonly<Record<string, OptionSpec>>): Row[] {
  return Object.entries(options).map(([name, spec]) => {
    const short = spec.short === undefined ? '    ' : `-${spec.short}, `;
    const left = `${short}--${name} ${placeholder(spec)}`.trimEnd();
    const given = 'default' in spec && spec.default !== undefined ? ` (default ${spec.default})` : '';
    const many = spec.many === true ? ' (several times)' : '';
    return [left, `${spec.summary}${given}${many}`];
  });
}

function exitCodeRows(): Row[] {
  return [
    ...exitCodeMeanings.map(([code, meaning]): Row => [String(code), meaning]),
    [passesExitCode.join(', '), 'the code of the program in the guest'],
    ['network trace', `${droppedExitCode} when the connection is dropped`],
  ];
}

/** Two columns; a left side that is too long has the right side below it. */
function section(title: string, rows: readonly Row[]): string {
  const width = Math.min(30, Math.max(...rows.map(([left]) => left.length)));
  const lines = rows.map(([left, right]) =>
    left.length > width ? `  ${left}\n  ${' '.repeat(width)}  ${right}` : `  ${left.padEnd(width)}  ${right}`,
  );
  return `${title}:\n${lines.join('\n')}\n`;
}
