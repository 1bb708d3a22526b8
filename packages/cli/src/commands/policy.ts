/** `wirt policy ls|show|create|set|rm`: limits that instances share. Who gives an instance its policy is `wirt set`. */
import type { Instance, LimitGap, Policy } from '@wirt/api';
import { type Commands, type Context, command } from '../command.ts';
import { isShared, keyLines, keySpecs } from '../limit-keys.ts';
import { limitsOf, limitsPatchOf, readAssignments } from '../limit-patch.ts';
import { gapKey, limitValues, valueText } from '../limit-values.ts';
import { limitOf, moreNote, pagingOptions, readPages } from '../paging.ts';
import { usageError } from '../parse.ts';
import type { View } from '../print.ts';
import type { Block, Cell } from '../table.ts';
import { driftedCell, pendingCell } from './instance-set-view.ts';
import { forEach } from './side-by-side.ts';

const policyArgument = { policy: { summary: 'Name or id of the policy', complete: 'policy' } } as const;
const settingsArgument = {
  settings: {
    summary: 'KEY=VALUE; an empty value takes it out, none is no limit',
    many: true,
    complete: 'policy-setting',
    optional: true,
  },
} as const;
const description = { kind: 'text', value: 'TEXT', summary: 'What it is for' } as const;
const keyNotes = ['Keys:', ...keyLines(keySpecs.filter(isShared)), '', 'cpu.limit is cpu.cores.'];

/** `cpu.cores=2 memory.ceiling=auto` */
function limitsText({ spec }: Policy): string {
  return [...limitValues(spec.limits)].map(([key, value]) => `${key}=${valueText(key, value)}`).join(' ');
}

const ls = command({
  arguments: {},
  options: pagingOptions,
  examples: [{ line: 'wirt policy ls', does: 'The limits of each, and how many instances have it.' }],
  async run(context, { options }) {
    const { items, more } = await readPages(
      (query) => context.client.call('GET /v1/policies', { query }),
      limitOf(options),
    );
    if (more) context.note(moreNote);
    const rows = items.map((policy): Cell[] => [
      policy.name,
      String(policy.status.instances.length),
      limitsText(policy) || 'none',
      policy.spec.description || '-',
    ]);
    const columns = ['NAME', 'INSTANCES', 'LIMITS', 'DESCRIPTION'];
    const empty = 'No policies. Create one: wirt policy create gold cpu.limit=2.';
    return {
      view: {
        data: items,
        names: items.map(({ name }) => name),
        table: () => [{ kind: 'table', columns, rows, empty }],
      },
    };
  },
});

type User = Pick<Instance, 'name' | 'spec' | 'status'>;

/** The instances that have it, of which its record knows only the names; those names where they cannot be read. */
async function usersOf({ client }: Context, policy: Policy): Promise<readonly User[] | undefined> {
  if (policy.status.instances.length === 0) return [];
  const fields = 'name,spec.policy,spec.limits,spec.disks,spec.nics,status.state,status.limits';
  try {
    const { items } = await readPages(
      (page) => client.call('GET /v1/instances', { query: { ...page, fields } }),
      'all',
    );
    return items.filter(({ spec }) => spec.policy === policy.name);
  } catch {
    return undefined;
  }
}

/** What of the policy’s keys is not in force on an instance. */
function troubles({ status }: User, policy: Policy): Cell {
  const keys = [...limitValues(policy.spec.limits).keys()].map((key) => key.replace(/^each-disk/, 'disk'));
  const ours = (gap: LimitGap): boolean => {
    const key = gapKey(gap);
    return keys.includes(key) || keys.includes(key.replace(/^(disk|network)\.[^.]+\./, '$1.'));
  };
  const drifted = status.limits?.drifted?.find(ours);
  if (drifted !== undefined) return withKey(drifted, driftedCell(drifted));
  const pending = status.limits?.pending?.find(ours);
  if (pending !== undefined) return withKey(pending, pendingCell(pending));
  return status.limits === undefined ? 'from its next start on' : 'in force';
}

function withKey(gap: LimitGap, cell: Cell): Cell {
  return typeof cell === 'string' ? cell : { ...cell, text: `${gapKey(gap)} ${cell.text}` };
}

/** What it has of its own in place of the policy’s. */
function ownInstead({ spec }: User, policy: Policy): string {
  const theirs = limitValues(policy.spec.limits);
  const own = [...limitValues(spec.limits)].filter(([key]) => theirs.has(key));
  return own.map(([key, value]) => `${key}=${valueText(key, value)}`).join(' ') || '-';
}

function userBlock(policy: Policy, users: readonly User[] | undefined): Block {
  const columns = ['INSTANCE', 'STATE', 'ITS OWN INSTEAD', ''];
  const rows =
    users === undefined
      ? policy.status.instances.map((name): Cell[] => [name, '?', '?', ''])
      : users.map((user): Cell[] => [
          user.name,
          user.status.state,
          ownInstead(user, policy),
          troubles(user, policy),
        ]);
  const empty = `No instance has it. Give it to one: wirt set NAME policy=${policy.name}.`;
  return rows.length === 0
    ? { kind: 'lines', lines: [empty] }
    : { kind: 'table', title: 'Instances', columns, rows, empty: '' };
}

function policyView(policy: Policy, users: readonly User[] | undefined): View {
  const values = [...limitValues(policy.spec.limits)];
  return {
    data: policy,
    names: [policy.name],
    table: () => [
      {
        kind: 'fields',
        fields: [
          ['Name', { text: policy.name, tone: 'bold' }],
          ['Id', policy.id],
          ...(policy.spec.description === '' ? [] : [['Description', policy.spec.description] as const]),
          ['Created', policy.createdAt],
        ],
      },
      {
        kind: 'fields',
        title: 'Limits',
        fields:
          values.length === 0 ? [['none', '']] : values.map(([key, value]) => [key, valueText(key, value)]),
      },
      { kind: 'fields', title: 'Labels', fields: Object.entries(policy.labels) },
      userBlock(policy, users),
    ],
  };
}

/** Programs get the record, and nothing is asked for beside it. */
async function shown(context: Context, policy: Policy): Promise<View> {
  return policyView(policy, context.output === 'table' ? await usersOf(context, policy) : []);
}

const show = command({
  arguments: policyArgument,
  options: {},
  examples: [
    { line: 'wirt policy show gold', does: 'Its limits, who has it, and where it is not in force.' },
  ],
  async run(context, { args }) {
    return {
      view: await shown(context, await context.client.call('GET /v1/policies/{policy}', { params: args })),
    };
  },
});

const create = command({
  arguments: { name: { summary: 'Name of the policy' }, ...settingsArgument },
  options: {
    description,
    label: { kind: 'pair', value: 'KEY=VALUE', short: 'l', many: true, summary: 'A label' },
  },
  examples: [
    {
      line: 'wirt policy create gold cpu.limit=2 memory.ceiling=auto network.egress=1Gbit',
      does: 'For `wirt run --policy gold` and `wirt set NAME policy=gold`.',
    },
  ],
  notes: keyNotes,
  async run(context, { args, options }) {
    const assignments = readAssignments(args.settings, { command: 'policy create', for: 'policy' });
    const taken = assignments.find(({ value }) => value === null);
    if (taken !== undefined)
      throw usageError('policy create', `${taken.key}= takes out a value, and a new policy has none.`);
    const policy = await context.client.call('POST /v1/policies', {
      body: {
        name: args.name,
        labels: Object.fromEntries(options.label),
        ...(options.description === undefined ? {} : { description: options.description }),
        limits: limitsOf(assignments),
      },
    });
    return { view: await shown(context, policy) };
  },
});

/** A change is in force on all of its running guests when it is answered. */
const answerMs = 120_000;

const set = command({
  arguments: { ...policyArgument, ...settingsArgument },
  options: { description },
  examples: [
    {
      line: 'wirt policy set gold cpu.limit=3',
      does: 'In force at once on every running guest that has it.',
    },
    { line: 'wirt policy set gold network.egress=', does: 'Takes the limit out.' },
  ],
  notes: [...keyNotes, 'When one value is wrong, none is changed. What an instance says itself wins.'],
  async run(context, { args, options }) {
    const assignments = readAssignments(args.settings, { command: 'policy set', for: 'policy' });
    if (assignments.length === 0 && options.description === undefined)
      throw usageError('policy set', 'wirt policy set needs KEY=VALUE, or --description.');
    const policy = await context.clientWith({ answerMs }).call('PATCH /v1/policies/{policy}', {
      params: { policy: args.policy },
      body: {
        ...(options.description === undefined ? {} : { description: options.description }),
        ...(assignments.length === 0 ? {} : { limits: limitsPatchOf(assignments) }),
      },
    });
    return { view: await shown(context, policy) };
  },
});

const rm = command({
  arguments: { policy: { summary: 'Names or ids of policies', many: true, complete: 'policy' } },
  options: {},
  examples: [{ line: 'wirt policy rm gold', does: 'Refused while an instance has it.' }],
  run: (context, { args }) =>
    forEach(args.policy, async (policy) => {
      await context.client.call('DELETE /v1/policies/{policy}', { params: { policy } });
      return { name: policy, line: `Policy ${policy} is removed`, record: { name: policy, removed: true } };
    }),
});

export const commands: Commands = {
  'policy ls': ls,
  'policy show': show,
  'policy create': create,
  'policy set': set,
  'policy rm': rm,
};
