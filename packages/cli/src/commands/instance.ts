/** `wirt ls`, `show`, `rename`: what is known of instances, and their names. The rest is in instance-run and -life. */
import type { Instance, InstanceUpdate } from '@wirt/api';
import { type InstanceState, instanceStates } from '@wirt/api/instance-can';
import { type Commands, type Context, command } from '../command.ts';
import { type Listed, limitOf, moreNote, pagingOptions, readPages } from '../paging.ts';
import { usageError } from '../parse.ts';
import type { Known } from './instance-disks-view.ts';
import { instanceListView, instanceView, listFields } from './instance-view.ts';
import { actedView } from './side-by-side.ts';

interface ListOptions {
  readonly state: InstanceState | undefined;
  readonly label: string | undefined;
  readonly image: string | undefined;
  readonly name: string | undefined;
  readonly limit: number | undefined;
  readonly all: boolean;
}

function list(context: Context, options: ListOptions, signal?: AbortSignal): Promise<Listed<Instance>> {
  const { state, label, image, name } = options;
  // Programs get whole records; people see a few fields, and the daemon sends no more than those.
  const whole = context.output === 'json' || context.output === 'yaml';
  const filters = { state, label, image, name, ...(whole ? {} : { fields: listFields }) };
  return readPages(
    (page) =>
      context.client.call('GET /v1/instances', {
        query: { ...page, ...given(filters) },
        ...(signal === undefined ? {} : { signal }),
      }),
    limitOf(options),
  );
}

/** Without what is undefined: `exactOptionalPropertyTypes` tells absent from undefined. */
function given<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}

const ls = command({
  arguments: {},
  options: {
    state: { kind: 'choice', choices: instanceStates, summary: 'Only those in this state' },
    label: { kind: 'text', value: 'KEY[=VALUE]', summary: 'Only those with this label' },
    image: { kind: 'text', value: 'IMAGE', complete: 'image', summary: 'Only those of this image' },
    name: { kind: 'text', value: 'PREFIX', summary: 'Only names that begin with this' },
    ...pagingOptions,
    watch: { kind: 'flag', short: 'w', summary: 'Go on and show every change' },
  },
  examples: [
    { line: 'wirt ls', does: 'The first hundred instances.' },
    { line: 'wirt ls --state running --label tier=web -o name', does: 'Names for a script.' },
    { line: 'wirt ls --watch', does: 'Redraws at every change, until Ctrl-C.' },
  ],
  notes: ['With --watch, a list is printed at every change; -o json prints each list on one line.'],
  async run(context, { options }) {
    if (options.watch) {
      const { watchList } = await import('./instance-watch.ts');
      await watchList(context, (signal) => list(context, options, signal));
      return {};
    }
    const { items, more } = await list(context, options);
    if (more) context.note(moreNote);
    return { view: instanceListView(items, context.io.now()) };
  },
});

const show = command({
  arguments: { name: { summary: 'Name or id of the instance', complete: 'instance' } },
  options: {
    isolation: {
      kind: 'flag',
      summary: 'How its process is confined, read from /proc and cgroupfs at this moment',
    },
    tuning: {
      kind: 'flag',
      summary:
        'How it is fitted to the hardware: each setting, who chose it and why, and what would be better',
    },
  },
  examples: [
    { line: 'wirt show demo', does: 'Spec, status, how the last run ended, and what can be done now.' },
    { line: 'wirt show demo --tuning', does: 'Pages, places and processors, and why it has got these.' },
    {
      line: 'wirt show demo --isolation',
      does: 'Uid, capabilities, seccomp, cgroup, namespaces and open files.',
    },
  ],
  async run(context, { args, options }) {
    const params = { instance: args.name };
    if (options.isolation && options.tuning)
      throw usageError('show', '--isolation and --tuning exclude each other.');
    if (options.tuning) {
      const found = await context.client.call('GET /v1/instances/{instance}/tuning', { params });
      const { tuningView } = await import('./tuning-view.ts');
      return { view: tuningView(found) };
    }
    if (options.isolation) {
      const found = await context.client.call('GET /v1/instances/{instance}/isolation', { params });
      const { isolationView } = await import('./isolation-view.ts');
      return { view: isolationView(args.name, found) };
    }
    const instance = await context.client.call('GET /v1/instances/{instance}', { params });
    const known = context.output === 'table' ? await knownOf(context, instance) : { volumes: [] };
    return { view: instanceView(instance, known, context.io.now()) };
  },
});

/** What its record has only the ids of; where that cannot be had, the ids are shown. */
async function knownOf({ client, io }: Context, instance: Instance): Promise<Known> {
  const { id, spec, status } = instance;
  const [volumes, snapshot, policy] = await Promise.all([
    spec.disks.some(({ device }) => device === 'disk')
      ? client.call('GET /v1/volumes', { query: { instance: id } }).then(
          ({ items }) => items,
          () => [],
        )
      : [],
    status.snapshot === undefined
      ? undefined
      : client
          .call('GET /v1/instances/{instance}/snapshots/{snapshot}', {
            params: { instance: id, snapshot: status.snapshot },
          })
          .catch(() => undefined),
    spec.policy === undefined
      ? undefined
      : client.call('GET /v1/policies/{policy}', { params: { policy: spec.policy } }).catch(() => undefined),
  ]);
  const { limitBlocks } = await import('./instance-limits-view.ts');
  const limits = limitBlocks(instance, policy, io.now());
  return { volumes, ...(snapshot && { snapshot: snapshot.name }), limits };
}

const rename = command({
  arguments: {
    name: { summary: 'Name or id of the instance', complete: 'instance' },
    new: { summary: 'Its new name' },
  },
  options: {},
  examples: [{ line: 'wirt rename demo web-1', does: 'The guest goes on running.' }],
  async run(context, { args }) {
    if (args.name === args.new) throw usageError('rename', `${args.name} is its name already.`);
    const body: InstanceUpdate = { name: args.new };
    const instance = await context.client.call('PATCH /v1/instances/{instance}', {
      params: { instance: args.name },
      body,
    });
    const line = `${args.name} is now ${instance.name}`;
    return { view: { ...actedView([{ name: instance.name, line, record: instance }]), data: instance } };
  },
});

export const commands: Commands = { ls, show, rename };
