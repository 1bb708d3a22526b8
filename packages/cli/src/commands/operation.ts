/** `wirt operation ls|show|cancel`. */
import type { Operation } from '@wirt/api';
import { type Commands, command, type Outcome } from '../command.ts';
import { copySeconds } from '../follow.ts';
import { limitOf, moreNote, pagingOptions, readPages } from '../paging.ts';
import type { View } from '../print.ts';
import type { Cell, Tone } from '../table.ts';
import { ageText, bytesText } from '../units.ts';
import { waitForOperation } from '../wait.ts';

const states = [
  'queued',
  'running',
  'done',
  'failed',
  'cancelled',
] as const satisfies readonly Operation['state'][];

const tones = {
  queued: 'dim',
  running: 'warn',
  done: 'good',
  failed: 'bad',
  cancelled: 'dim',
} as const satisfies Record<Operation['state'], Tone>;

function stateCell({ state }: Operation): Cell {
  return { text: state, tone: tones[state] };
}

function progressText({ progress }: Operation): string {
  if (progress === undefined) return '-';
  const { done, total, unit } = progress;
  if (unit === 'steps') return `${done} of ${total}`;
  const rate = progress.perSecond === undefined ? '' : `, ${bytesText(progress.perSecond)}/s`;
  return `${bytesText(done)} of ${bytesText(total)}${rate}`;
}

function operationView(operation: Operation, nowMs: number): View {
  const { error } = operation;
  return {
    data: operation,
    names: [operation.id],
    table: () => [
      {
        kind: 'fields',
        fields: [
          ['Id', operation.id],
          ['Kind', operation.kind],
          ['Target', `${operation.target.kind} ${operation.target.name} (${operation.target.id})`],
          ['State', stateCell(operation)],
          ['Stage', operation.stage],
          ['Progress', progressText(operation)],
          ['Requested by', operation.requestedBy],
          ['Created', `${operation.createdAt} (${ageText(operation.createdAt, nowMs)} ago)`],
          ...(operation.finishedAt === undefined ? [] : [['Finished', operation.finishedAt] as const]),
          ...(operation.recovery === undefined
            ? []
            : [['When wirtd restarted', operation.recovery] as const]),
          ['Can be cancelled', operation.cancellable ? `wirt operation cancel ${operation.id}` : 'no'],
        ],
      },
      ...(error === undefined
        ? []
        : [
            {
              kind: 'fields',
              title: 'Error',
              fields: [
                ['Code', error.code],
                ['Detail', error.detail],
                ...(error.cause === undefined ? [] : [['Cause', error.cause] as const]),
                ...(error.hint === undefined ? [] : [['Hint', error.hint] as const]),
              ],
            } as const,
          ]),
    ],
  };
}

const ls = command({
  arguments: {},
  options: {
    state: { kind: 'choice', choices: states, summary: 'Only those in this state' },
    target: {
      kind: 'text',
      value: 'NAME',
      complete: 'instance',
      summary: 'Only those on this instance, image, volume or snapshot',
    },
    ...pagingOptions,
  },
  examples: [
    { line: 'wirt operation ls --state running', does: 'What wirtd is at.' },
    { line: 'wirt operation ls --target demo', does: 'What was done with demo in the last day.' },
  ],
  async run(context, { options }) {
    const { state, target } = options;
    const filters = {
      ...(state === undefined ? {} : { state }),
      ...(target === undefined ? {} : { target }),
    };
    const { items, more } = await readPages(
      (page) => context.client.call('GET /v1/operations', { query: { ...page, ...filters } }),
      limitOf(options),
    );
    if (more) context.note(moreNote);
    const nowMs = context.io.now();
    const rows = items.map((each) => [
      each.id,
      each.kind,
      each.target.name,
      stateCell(each),
      each.stage,
      progressText(each),
      ageText(each.createdAt, nowMs),
    ]);
    const columns = ['ID', 'KIND', 'TARGET', 'STATE', 'STAGE', 'PROGRESS', 'AGE'];
    return {
      view: {
        data: items,
        names: items.map(({ id }) => id),
        table: () => [{ kind: 'table', columns, rows, empty: 'No operations.' }],
      },
    };
  },
});

const show = command({
  arguments: { operation: { summary: 'Id of the operation', complete: 'operation' } },
  options: {
    wait: { kind: 'flag', summary: 'Wait for its end with its progress; fails as it does' },
    timeout: { kind: 'seconds', value: 'SECONDS', default: copySeconds, summary: 'How long to wait' },
  },
  examples: [
    { line: 'wirt operation show 01JD7ZK3N5Q8R2T4V6W8X0Y2Z4', does: 'Its stage, progress and error.' },
    { line: 'wirt operation show 01JD7ZK3N5Q8R2T4V6W8X0Y2Z4 --wait', does: 'After a --no-wait or a Ctrl-C.' },
  ],
  async run(context, { args, options }) {
    const params = { operation: args.operation };
    const operation = await context.client.call('GET /v1/operations/{operation}', { params });
    const shown = options.wait
      ? await waitForOperation(context, operation, { timeoutSeconds: options.timeout })
      : operation;
    return { view: operationView(shown, context.io.now()) };
  },
});

const cancel = command({
  arguments: { operation: { summary: 'Ids of operations', many: true, complete: 'operation' } },
  options: {},
  examples: [
    { line: 'wirt operation cancel 01JD7ZK3N5Q8R2T4V6W8X0Y2Z4', does: 'What it has done is undone.' },
    {
      line: 'wirt operation ls --state running -o name | xargs wirt operation cancel',
      does: 'Cancels all that can be.',
    },
  ],
  async run(context, { args }): Promise<Outcome> {
    const asked: Operation[] = [];
    const failures: unknown[] = [];
    for (const operation of args.operation) {
      try {
        const input = { params: { operation } };
        asked.push(await context.client.call('POST /v1/operations/{operation}/cancel', input));
      } catch (error) {
        failures.push(error);
      }
    }
    if (asked.length === 0) return { failures };
    const lines = asked.map(({ id, kind, target }) => `${kind} of ${target.name} (${id}) is being cancelled`);
    return {
      view: { data: asked, names: asked.map(({ id }) => id), table: () => [{ kind: 'lines', lines }] },
      failures,
    };
  },
});

export const commands: Commands = { 'operation ls': ls, 'operation show': show, 'operation cancel': cancel };
