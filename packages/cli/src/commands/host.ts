/** `wirt host`, `host check`, `version`: the machine below, how it compares with best practice, and who answers. */
import type { HostFinding, Version } from '@wirt/api';
import { type Commands, command } from '../command.ts';
import { exitCodeOf, exitCodes } from '../exit-code.ts';
import type { Block, Cell, Tone } from '../table.ts';
import { version as clientVersion } from '../version.ts';
import { hostBlocks } from './host-view.ts';

const levels = {
  ok: { sign: '✓', words: 'ok', tone: 'good' },
  better: { sign: '▲', words: 'could be better', tone: 'warn' },
  missing: { sign: '✗', words: 'missing', tone: 'bad' },
} as const satisfies Record<HostFinding['level'], { sign: string; words: string; tone: Tone }>;

const host = command({
  arguments: {},
  options: {},
  examples: [
    { line: 'wirt host', does: 'Processor, memory, KVM, QEMU, control groups, devices.' },
    { line: 'wirt host -o json', does: 'The same for programs.' },
  ],
  async run(context) {
    // Beside the record, for people only; what it is remains to be shown when they cannot be had.
    const [found, settings] = await Promise.all([
      context.client.call('GET /v1/host', {}),
      context.output === 'table'
        ? context.client.call('GET /v1/host/settings', {}).catch(() => undefined)
        : undefined,
    ]);
    return { view: { data: found, names: [found.hostname], table: () => hostBlocks(found, settings) } };
  },
});

/** The worst first, each with why it matters and what to do; what is in order comes as a table at the end. */
function findingBlocks(findings: readonly HostFinding[]): Block[] {
  const worstFirst = ['missing', 'better'] as const;
  const wanting = worstFirst.flatMap((level) => findings.filter((each) => each.level === level));
  const fine = findings.filter(({ level }) => level === 'ok');
  const count = (level: HostFinding['level']): number =>
    findings.filter((each) => each.level === level).length;
  return [
    ...wanting.map((finding): Block => ({ kind: 'lines', lines: findingLines(finding) })),
    ...(fine.length > 0 ? [{ kind: 'lines', lines: fine.map((each) => findingHead(each)) } as const] : []),
    {
      kind: 'lines',
      lines: [`${count('ok')} ok, ${count('better')} could be better, ${count('missing')} missing`],
    },
  ];
}

function findingHead({ level, title, found }: HostFinding): Cell {
  const { sign, words, tone } = levels[level];
  return { text: `${sign} ${title}: ${level === 'ok' ? '' : `${words}: `}${found}`, tone };
}

function findingLines(finding: HostFinding): Cell[] {
  return [
    findingHead(finding),
    `    why: ${finding.why}`,
    // A command of several lines is shown line by line, to be copied.
    ...(finding.fix?.split('\n').map((line, at) => `${at === 0 ? '    fix: ' : '         '}${line}`) ?? []),
  ];
}

const check = command({
  arguments: {},
  options: { strict: { kind: 'flag', summary: 'Exit with 1 unless everything is ok' } },
  examples: [
    {
      line: 'wirt host check',
      does: 'What is ok, could be better, or is missing, why, and the command to mend it.',
    },
    { line: 'wirt host check --strict -o name', does: 'For scripts: the ids of what is not ok.' },
  ],
  async run(context, { options }) {
    const { findings } = await context.client.call('GET /v1/host/check', {});
    const wanting = findings.filter(({ level }) => level !== 'ok');
    return {
      view: { data: { findings }, names: wanting.map(({ id }) => id), table: () => findingBlocks(findings) },
      ...(options.strict && wanting.length > 0 ? { exitCode: exitCodes.failed } : {}),
    };
  },
});

const version = command({
  arguments: {},
  options: {},
  examples: [
    {
      line: 'wirt version',
      does: 'Exits with 5 when wirtd does not answer; `wirt --version` does not ask it.',
    },
  ],
  async run(context) {
    const client = { version: clientVersion, node: process.version };
    let daemon: Version | null = null;
    const failures: unknown[] = [];
    try {
      daemon = await context.client.call('GET /v1/version', {});
    } catch (error) {
      if (exitCodeOf(error) !== exitCodes.unreachable) throw error;
      failures.push(error);
    }
    const table = (): Block[] => [
      {
        kind: 'fields',
        fields: [
          ['wirt', `${client.version} (Node ${client.node})`],
          ['wirtd', daemonText(daemon)],
        ],
      },
    ];
    return { view: { data: { client, daemon }, names: [client.version], table }, failures };
  },
});

function daemonText(daemon: Version | null): Cell {
  if (daemon === null) return { text: 'does not answer', tone: 'bad' };
  return `${daemon.version} (Node ${daemon.node}), pid ${daemon.pid}, state in ${daemon.stateDirectory}`;
}

export const commands: Commands = { host, 'host check': check, version };
