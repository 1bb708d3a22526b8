/** `wirt events`: every change as it happens, a line or a record each, over lost connections too. */
import type { Event, EventQuery } from '@wirt/api';
import { type Commands, command } from '../command.ts';
import { followEvents } from '../watch.ts';

function eventLine({ at, change, kind, name, id, state, detail }: Event): string {
  const what = [at, kind.padEnd(9), change.padEnd(7), name, state ?? '-', id];
  return [...what, ...(detail === undefined ? [] : [detail])].join('  ');
}

const events = command({
  arguments: {},
  options: {
    since: {
      kind: 'integer',
      value: 'REVISION',
      min: 0,
      max: Number.MAX_SAFE_INTEGER,
      summary: 'Begin after this revision instead of now',
    },
    kind: {
      kind: 'choice',
      choices: [
        'instance',
        'image',
        'volume',
        'pool',
        'snapshot',
        'network',
        'security-group',
        'policy',
        'operation',
      ],
      summary: 'Only changes of this kind',
    },
    id: { kind: 'text', value: 'ID', summary: 'Only changes of this resource' },
    count: {
      kind: 'integer',
      value: 'N',
      min: 1,
      max: 1_000_000,
      short: 'n',
      summary: 'Leave after so many',
    },
    reconnect: {
      kind: 'seconds',
      value: 'SECONDS',
      default: 60,
      summary: 'How long to try again when wirtd is gone',
    },
  },
  examples: [
    { line: 'wirt events', does: 'A line for every change, until Ctrl-C.' },
    { line: 'wirt events --kind instance -o json', does: 'A JSON record on each line.' },
    { line: 'wirt events --since 4711', does: 'First what has changed since that revision.' },
  ],
  async run(context, { options }) {
    const { since, kind, id, count } = options;
    const query: EventQuery = {
      ...(since === undefined ? {} : { since }),
      ...(kind === undefined ? {} : { kind }),
      ...(id === undefined ? {} : { id }),
    };
    const leave = new AbortController();
    const removeInterrupt = context.io.onInterrupt(() => leave.abort());
    const onLost = (): void => context.note('wirtd is gone; waiting for it to come back …');
    let left = count ?? Number.POSITIVE_INFINITY;
    try {
      const reconnectMs = options.reconnect * 1000;
      for await (const event of followEvents(context, query, { signal: leave.signal, reconnectMs, onLost })) {
        if (event === 'connected') continue;
        await context.printLine(context.output === 'name' ? event.name : eventLine(event), event);
        left--;
        if (left === 0) break;
      }
    } finally {
      leave.abort();
      removeInterrupt();
    }
    return {};
  },
});

export const commands: Commands = { events };
