/** `wirt logs`, `exec` and `cp`: what the guest wrote, programs in it, and its files. The console is in guest-console. */
import { type Commands, type Context, command } from '../command.ts';
import { exitCodes } from '../exit-code.ts';
import { write } from '../io.ts';
import { usageError } from '../parse.ts';
import { createTerminalFilter } from '../terminal-filter.ts';
import { cp } from './guest-copy.ts';

/** Base64 of it must fit into the contract's 12,000,000 characters. */
const maxStdinBytes = 9_000_000;
/** On top of the time that the program in the guest gets. */
const answerSlackMs = 15_000;

const logs = command({
  arguments: { name: { summary: 'Name or id of the instance', complete: 'instance' } },
  options: {
    qemu: { kind: 'flag', summary: 'QEMU’s own messages instead of the serial console' },
    follow: { kind: 'flag', short: 'f', summary: 'Go on as the log grows' },
    raw: { kind: 'flag', summary: 'On a terminal: let every escape sequence through' },
  },
  examples: [
    { line: 'wirt logs demo', does: 'What the guest wrote to its serial console.' },
    { line: 'wirt logs demo -f', does: 'And what it writes from now on, until Ctrl-C.' },
    { line: 'wirt logs demo --qemu', does: 'Why QEMU did not start, or ended.' },
  ],
  notes: ['On a terminal only text and colours pass; into a pipe or file every byte, as it is.'],
  async run(context, { args, options }) {
    if (options.qemu && options.follow)
      throw usageError('logs', '--follow goes with the console, and not with --qemu.');
    const response = await context.client.stream('GET /v1/instances/{instance}/logs', {
      params: { instance: args.name },
      query: { source: options.qemu ? 'qemu' : 'console', follow: String(options.follow) },
    });
    const { stdout } = context.io;
    const filtered = stdout.isTTY === true && !options.raw;
    const filter = createTerminalFilter();
    const decoder = new TextDecoder();
    for await (const chunk of response.body ?? []) {
      await write(stdout, filtered ? filter(decoder.decode(chunk, { stream: true })) : chunk);
    }
    return {};
  },
});

const exec = command({
  arguments: {
    name: { summary: 'Name or id of the instance', complete: 'instance' },
    command: {
      summary: 'Program and its arguments; no shell is in between',
      many: true,
      complete: 'command',
    },
  },
  options: {
    stdin: { kind: 'flag', short: 'i', summary: 'Pass standard input, read to its end first (9 MB at most)' },
    env: {
      kind: 'pair',
      value: 'KEY=VALUE',
      short: 'e',
      many: true,
      summary: 'A variable of its environment',
    },
    timeout: { kind: 'seconds', value: 'SECONDS', default: 60, summary: 'How long it may take' },
  },
  examples: [
    { line: 'wirt exec demo -- uname -a', does: 'Output, errors and exit code are those of the program.' },
    { line: "wirt exec demo -- sh -c 'cat /proc/loadavg; df'", does: 'A shell, where you want one.' },
    { line: 'wirt exec demo -i -e LANG=C -- sort < words', does: 'Reads standard input.' },
  ],
  notes: [
    'Put -- before the command. Its exit code becomes that of wirt, 128 + N where signal N ended it. Failures of wirt',
    'itself begin with “wirt:” on standard error, and have the codes of `wirt help`. -o json prints the answer of the',
    'API (output in base64). What the program writes reaches your terminal as it is.',
  ],
  async run(context, { args, options }) {
    const stdin = options.stdin ? await readInput(context) : undefined;
    const client = context.clientWith({ answerMs: options.timeout * 1000 + answerSlackMs });
    const result = await client.call('POST /v1/instances/{instance}/exec', {
      params: { instance: args.name },
      body: {
        argv: [...args.command],
        ...(options.env.length > 0 ? { env: options.env.map(([key, value]) => `${key}=${value}`) } : {}),
        ...(stdin === undefined ? {} : { stdin }),
        timeoutSeconds: options.timeout,
      },
    });
    const exitCode =
      result.exitCode ?? (result.signal === undefined ? exitCodes.failed : 128 + result.signal);
    if (context.output !== 'table') {
      return { view: { data: result, names: [args.name], table: () => [] }, exitCode };
    }
    await write(context.io.stdout, Buffer.from(result.stdout, 'base64'));
    await write(context.io.stderr, Buffer.from(result.stderr, 'base64'));
    if (result.truncated) context.note('wirt: the output was cut: it is longer than the guest agent keeps.');
    return { exitCode };
  },
});

async function readInput({ io }: Context): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of io.stdin) {
    const data = Buffer.from(chunk as Uint8Array);
    bytes += data.length;
    if (bytes > maxStdinBytes) {
      throw usageError(
        'exec',
        'Standard input is longer than 9 MB.',
        'Copy it into the guest first: `wirt cp FILE NAME:/PATH`.',
      );
    }
    chunks.push(data);
  }
  return Buffer.concat(chunks).toString('base64');
}

export const commands: Commands = { logs, exec, cp };
