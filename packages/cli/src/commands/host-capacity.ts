/** `wirt host capacity`, `topology`, `settings`, `set`: what of the machine is promised, who is placed where, and up to what may be promised. */
import type { HostSettings, HostSettingsUpdate } from '@wirt/api';
import { type Commands, command } from '../command.ts';
import { type HostKey, hostKeys } from '../host-keys.ts';
import { nearest } from '../nearest.ts';
import { usageError } from '../parse.ts';
import type { View } from '../print.ts';
import { BadValue, parsePair, quote } from '../units.ts';

const capacity = command({
  arguments: {},
  options: {},
  examples: [
    { line: 'wirt host capacity', does: 'What there is, what is promised to guests, and what is left.' },
    { line: 'wirt host capacity -o json', does: 'The same for programs.' },
  ],
  notes: [
    'A start, a change or a volume that would promise more than there is to promise is refused: `wirt host set` says how much that is.',
    'Volumes are promised their sizes. Pools on one file system share their space, and each shows the sum of all; guests that run keep theirs when a factor is lowered.',
  ],
  async run(context) {
    const found = await context.client.call('GET /v1/host/capacity', {});
    const { capacityView } = await import('./host-capacity-view.ts');
    return { view: capacityView(found) };
  },
});

const topology = command({
  arguments: {},
  options: {},
  examples: [
    {
      line: 'wirt host topology',
      does: 'Nodes with memory, distances, huge pages and guests; sockets with cores, and who has them alone.',
    },
    { line: 'wirt host topology -o json', does: 'Every single processor.' },
  ],
  async run(context) {
    const found = await context.client.call('GET /v1/host/topology', {});
    const { topologyView } = await import('./host-topology-view.ts');
    return { view: topologyView(found) };
  },
});

const settings = command({
  arguments: {},
  options: {},
  examples: [{ line: 'wirt host settings', does: 'How much more than this machine has may be promised.' }],
  async run(context) {
    return { view: settingsView(await context.client.call('GET /v1/host/settings', {})) };
  },
});

const set = command({
  arguments: {
    settings: { summary: 'KEY=VALUE, one or more', many: true, complete: 'host-setting' },
  },
  options: {},
  examples: [
    { line: 'wirt host set cpu-overcommit=4', does: 'Four vCPUs may be promised for each processor.' },
    {
      line: 'wirt host set cpu-overcommit=8 memory-overcommit=1.2',
      does: 'A fifth more memory than there is; guests that run stay.',
    },
  ],
  notes: [
    'Keys:',
    ...hostKeys.map(({ key, summary }) => `  ${key.padEnd(18)}  ${summary}: 1, 1.5, 4`),
    '',
    'When one value is wrong, none is changed. Processors that a guest has alone, and huge pages, are promised once, whatever the factors say.',
  ],
  async run(context, { args }) {
    const body = updateOf(args.settings);
    return { view: settingsView(await context.client.call('PATCH /v1/host/settings', { body })) };
  },
});

function updateOf(texts: readonly string[]): HostSettingsUpdate {
  const found = new Map<HostKey['field'], number>();
  for (const text of texts) {
    const { key, field, value } = assignmentOf(text);
    if (found.has(field)) throw usageError('host set', `${key} was given twice, and it takes one value.`);
    found.set(field, value);
  }
  return Object.fromEntries(found);
}

function assignmentOf(text: string): HostKey & { readonly value: number } {
  try {
    const [typed, value] = parsePair(text);
    const key = hostKeys.find((each) => each.key === typed);
    if (key === undefined) throw unknownKey(typed);
    return { ...key, value: parseFactor(value) };
  } catch (error) {
    if (!(error instanceof BadValue)) throw error;
    throw usageError('host set', `wirt host set: ${quote(text)} cannot be: it ${error.message}.`);
  }
}

function unknownKey(typed: string): Error {
  const known = hostKeys.map(({ key }) => key);
  const near = nearest(typed, known);
  return usageError(
    'host set',
    `wirt host set knows no key ${quote(typed)}.`,
    near === undefined ? `Keys: ${known.join(', ')}.` : `Did you mean ${near}?`,
  );
}

/** As in the contract, whose schemas are not loaded here. */
const [leastFactor, mostFactor] = [0.1, 1000];

function parseFactor(text: string): number {
  if (!/^\d{1,4}(\.\d{1,4})?$/.test(text))
    throw new BadValue(`takes a factor such as 1.5, and not ${quote(text)}`);
  const factor = Number(text);
  if (factor < leastFactor || factor > mostFactor)
    throw new BadValue(`takes a factor from ${leastFactor} to ${mostFactor}, and not ${text}`);
  return factor;
}

function settingsView(found: HostSettings): View {
  return {
    data: found,
    names: hostKeys.map(({ key, field }) => `${key}=${found[field]}`),
    table: () => [
      {
        kind: 'table',
        columns: ['KEY', 'VALUE', 'MEANS'],
        rows: hostKeys.map(({ key, field, summary }) => [key, String(found[field]), summary]),
        empty: '',
      },
    ],
  };
}

export const commands: Commands = {
  'host capacity': capacity,
  'host topology': topology,
  'host settings': settings,
  'host set': set,
};
