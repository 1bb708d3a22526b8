/** `wirt network trace`: which rule lets a connection pass or drops it, and the proof with a packet. */
import { isIP } from 'node:net';
import type { NetworkTraceResult } from '@wirt/api';
import { type Commands, command } from '../command.ts';
import { droppedExitCode, exitCodes } from '../exit-code.ts';
import { usageError } from '../parse.ts';
import type { View } from '../print.ts';
import type { Cell } from '../table.ts';

const trace = command({
  arguments: {
    from: { summary: 'Who begins: name or id of an instance, or an address', complete: 'instance' },
    to: { summary: 'Who is asked: name or id of an instance, or an address', complete: 'instance' },
  },
  options: {
    port: {
      kind: 'integer',
      value: 'PORT',
      short: 'p',
      min: 1,
      max: 65_535,
      summary: 'The port of who is asked',
    },
    protocol: { kind: 'choice', choices: ['tcp', 'udp', 'icmp'], summary: 'icmp is ping (default tcp)' },
    ipv6: { kind: 'flag', summary: 'By IPv6; also where an end is an IPv6 address' },
    live: {
      kind: 'flag',
      summary: 'Send a packet too, as the first instance does, and see what comes of it',
    },
  },
  examples: [
    {
      line: 'wirt network trace web db --port 5432 --live',
      does: 'The rule that decides; proven with a packet of a card that has web’s groups.',
    },
    { line: 'wirt network trace 192.0.2.7 web --port 80', does: 'From outside, by what is on record.' },
    {
      line: 'wirt network trace web db --protocol icmp -o name',
      does: '`passes` or `dropped`, for a script.',
    },
  ],
  notes: [`Exit code ${droppedExitCode}: it is dropped.`],
  async run(context, { args, options }) {
    const { port, protocol = 'tcp', live } = options;
    if (protocol === 'icmp' ? port !== undefined : port === undefined)
      throw usageError(
        'network trace',
        protocol === 'icmp'
          ? 'ICMP has no ports: leave out --port.'
          : 'wirt network trace needs --port PORT.',
        protocol === 'icmp' ? undefined : 'For a ping: `--protocol icmp`.',
      );
    if (live && isIP(args.from) !== 0)
      throw usageError(
        'network trace',
        `--live cannot send as ${args.from} does: a packet is sent only as an instance does.`,
        'Leave out --live, or name an instance first.',
      );
    const ipv6 = options.ipv6 || args.from.includes(':') || args.to.includes(':');
    const result = await context.client.call('POST /v1/network-traces', {
      body: {
        from: args.from,
        to: args.to,
        protocol,
        ...(port === undefined ? {} : { port }),
        family: ipv6 ? 'ipv6' : 'ipv4',
        live,
      },
    });
    const asked = `${protocol}${port === undefined ? '' : ` port ${port}`}`;
    const isDisproved = result.live?.verdict === 'dropped' && result.live.expected === 'passes';
    const passes = result.verdict === 'passes' && !isDisproved;
    return {
      view: traceView(result, `${args.from} to ${args.to}, ${asked}, ${ipv6 ? 'IPv6' : 'IPv4'}`),
      exitCode: passes ? exitCodes.ok : droppedExitCode,
    };
  },
});

function traceView(result: NetworkTraceResult, title: string): View {
  const { steps, live, verdict } = result;
  const deciding = steps.at(-1);
  const by = deciding?.rule === undefined ? '' : ` by rule ${deciding.rule}`;
  const decided = deciding === undefined ? '' : ` at ${deciding.at}${by}`;
  return {
    data: result,
    names: [verdict],
    table: () => [
      {
        kind: 'table',
        title,
        columns: ['AT', 'VERDICT', 'RULE', 'WHY'],
        rows: steps.map((step): Cell[] => [step.at, verdictCell(step.verdict), step.rule ?? '-', step.why]),
        empty: '',
      },
      {
        kind: 'lines',
        lines: [
          {
            ...verdictCell(verdict),
            text: `It ${verdict === 'passes' ? 'passes' : 'is dropped'}${decided}.`,
          },
          ...(live === undefined
            ? []
            : [{ ...verdictCell(live.verdict), text: `Live: ${live.verdict}. ${live.why}` }]),
          ...(live === undefined || live.verdict === live.expected
            ? []
            : [{ text: 'The packet fared otherwise than the records say.', tone: 'bad' } as const]),
        ],
      },
    ],
  };
}

function verdictCell(verdict: NetworkTraceResult['verdict']): Exclude<Cell, string> {
  return { text: verdict, tone: verdict === 'passes' ? 'good' : 'bad' };
}

export const commands: Commands = { 'network trace': trace };
