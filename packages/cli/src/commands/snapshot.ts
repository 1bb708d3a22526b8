/** `wirt snapshot create|ls|show|restore|rm|export`: all disks of an instance as they were at one moment. */
import type { Instance, Snapshot } from '@wirt/api';
import { type Commands, type Context, command } from '../command.ts';
import { idempotent } from '../context.ts';
import { cancelNote, copySeconds, follow, followed, followOptions, goesOnLine, lineView } from '../follow.ts';
import { readPages } from '../paging.ts';
import type { View } from '../print.ts';
import type { Cell } from '../table.ts';
import { ageText } from '../units.ts';
import { exported, exportFormatOption } from './disk-export.ts';
import { forEach } from './side-by-side.ts';
import { treeLines } from './snapshot-tree.ts';

const instanceArgument = {
  instance: { summary: 'Name or id of the instance', complete: 'instance' },
} as const;
const snapshotArguments = {
  ...instanceArgument,
  snapshot: { summary: 'Name or id of the snapshot', complete: 'snapshot' },
} as const;

const create = command({
  arguments: {
    ...instanceArgument,
    name: { summary: 'Name of the snapshot; made up from the time when left out', optional: true },
  },
  options: {
    description: { kind: 'text', value: 'TEXT', short: 'd', summary: 'What it is for' },
    freeze: {
      kind: 'choice',
      choices: ['auto', 'required', 'none'],
      summary:
        'Freeze the guest’s file systems: where its agent answers, or fail, or not at all (default auto)',
    },
    ...followOptions(120),
  },
  examples: [
    {
      line: 'wirt snapshot create web before-upgrade',
      does: 'Also while it runs; says whether it was frozen.',
    },
    {
      line: 'wirt snapshot create db --freeze required -d "nightly"',
      does: 'Only if the guest can be frozen.',
    },
  ],
  async run(context, { args, options }) {
    const { description, freeze } = options;
    const operation = await context.client.call('POST /v1/instances/{instance}/snapshots', {
      params: { instance: args.instance },
      body: {
        ...(args.name === undefined ? {} : { name: args.name }),
        ...(description === undefined ? {} : { description }),
        ...(freeze === undefined ? {} : { freeze }),
      },
      ...idempotent(),
    });
    return followed(context, operation, options, async ({ target }) => {
      const snapshot = await getSnapshot(context, args.instance, target.id);
      return lineView(snapshot, snapshot.name, takenLine(args.instance, snapshot));
    });
  },
});

function getSnapshot(context: Context, instance: string, snapshot: string): Promise<Snapshot> {
  return context.client.call('GET /v1/instances/{instance}/snapshots/{snapshot}', {
    params: { instance, snapshot },
  });
}

function takenLine(instance: string, { name, status }: Snapshot): string {
  const taken = `Snapshot ${name} of ${instance} is taken`;
  switch (status.consistency) {
    case 'frozen':
      return `${taken}; the guest’s file systems were frozen for it`;
    case 'stopped':
      return `${taken}; nothing ran`;
    case 'crash':
    case undefined: {
      const why =
        status.consistencyReason === undefined ? '' : ` (${status.consistencyReason.replace(/\.$/, '')})`;
      return `${taken}; the guest was not frozen${why}, so it is as after a power cut`;
    }
  }
}

const ls = command({
  arguments: instanceArgument,
  options: {},
  examples: [{ line: 'wirt snapshot ls web', does: 'As a tree; * marks the one that the disks go on from.' }],
  async run(context, { args }) {
    const params = { instance: args.instance };
    const { items } = await readPages(
      (query) => context.client.call('GET /v1/instances/{instance}/snapshots', { params, query }),
      'all',
    );
    const instance = await context.client.call('GET /v1/instances/{instance}', { params });
    return { view: treeView(items, instance, context.io.now()) };
  },
});

function treeView(items: readonly Snapshot[], { name, status }: Instance, nowMs: number): View {
  const lines = treeLines(
    items.map((snapshot) => ({ id: snapshot.id, parent: snapshot.status.parent, snapshot })),
  );
  return {
    data: items,
    names: items.map((each) => each.name),
    table: () => [
      {
        kind: 'table',
        columns: ['SNAPSHOT', 'STATE', 'AGE', 'CONSISTENCY', 'DISKS', 'DESCRIPTION'],
        rows: lines.map(({ lead, item: { snapshot } }): Cell[] => [
          `${lead}${snapshot.name}${snapshot.id === status.snapshot ? ' *' : ''}`,
          snapshot.status.state,
          ageText(snapshot.createdAt, nowMs),
          consistencyCell(snapshot),
          String(snapshot.status.disks.length),
          snapshot.spec.description ?? '-',
        ]),
        empty: `No snapshots. Take one: wirt snapshot create ${name}.`,
      },
    ],
  };
}

function consistencyCell({ status }: Snapshot): Cell {
  const { consistency } = status;
  if (consistency === undefined) return '-';
  return { text: consistency, tone: consistency === 'crash' ? 'warn' : 'good' };
}

const show = command({
  arguments: snapshotArguments,
  options: {},
  examples: [
    { line: 'wirt snapshot show web before-upgrade', does: 'Its disks, and how consistent they are.' },
  ],
  async run(context, { args }) {
    const snapshot = await getSnapshot(context, args.instance, args.snapshot);
    return { view: snapshotView(snapshot) };
  },
});

function snapshotView(snapshot: Snapshot): View {
  const { name, id, createdAt, spec, status, labels } = snapshot;
  const known = [
    ['Why not frozen', status.consistencyReason],
    ['Parent', status.parent],
    ['Description', spec.description],
    ['UEFI variables', status.firmwareVariables === true ? 'saved' : undefined],
  ] as const;
  return {
    data: snapshot,
    names: [name],
    table: () => [
      {
        kind: 'fields',
        fields: [
          ['Name', { text: name, tone: 'bold' }],
          ['Id', id],
          ['State', status.state],
          ['Instance', spec.instance],
          ['Taken', createdAt],
          ['Consistency', consistencyCell(snapshot)],
          ...known.flatMap(([label, value]) => (value === undefined ? [] : [[label, value] as const])),
        ],
      },
      {
        kind: 'table',
        columns: ['DISK', 'VOLUME', 'LAYER'],
        rows: status.disks.map(({ disk, volume, layer }) => [disk, volume, layer]),
        empty: '',
      },
      { kind: 'fields', title: 'Labels', fields: Object.entries(labels) },
    ],
  };
}

const restore = command({
  arguments: snapshotArguments,
  options: followOptions(300),
  examples: [
    {
      line: 'wirt snapshot restore web before-upgrade',
      does: 'The disks of a stopped instance; what they hold now is lost, the snapshot stays.',
    },
  ],
  async run(context, { args, options }) {
    const operation = await context.client.call(
      'POST /v1/instances/{instance}/snapshots/{snapshot}/restore',
      { params: args, ...idempotent() },
    );
    return followed(context, operation, options, (ended) =>
      lineView(ended, ended.target.name, `${args.instance} is back at snapshot ${ended.target.name}`),
    );
  },
});

const rm = command({
  arguments: {
    ...instanceArgument,
    snapshot: { summary: 'Names or ids of its snapshots', many: true, complete: 'snapshot' },
  },
  options: followOptions(copySeconds),
  examples: [
    {
      line: 'wirt snapshot rm web before-upgrade',
      does: 'The guest keeps what it has written; also while it runs.',
    },
  ],
  run: (context, { args, options }) =>
    forEach(args.snapshot, async (snapshot) => {
      const operation = await context.client.call('DELETE /v1/instances/{instance}/snapshots/{snapshot}', {
        params: { instance: args.instance, snapshot },
      });
      const ended = await follow(context, operation, options, { silent: args.snapshot.length > 1 });
      const { name } = operation.target;
      const line = ended === undefined ? goesOnLine(operation) : `Snapshot ${name} is removed`;
      return { name, line, record: ended ?? operation };
    }),
});

const exportSnapshot = command({
  arguments: {
    ...snapshotArguments,
    path: { summary: 'File to write; a directory where there are several disks', complete: 'file' },
  },
  options: {
    format: { ...exportFormatOption, summary: 'Format of the files (default by the ending, else qcow2)' },
    disk: { kind: 'text', value: 'DISK', summary: 'Only this disk of the instance' },
    ...followOptions(copySeconds),
  },
  examples: [
    { line: 'wirt snapshot export web before-upgrade ./web.qcow2', does: 'Also while the guest runs.' },
    {
      line: 'wirt snapshot export db nightly /srv/db --format raw',
      does: 'Several disks, into a directory.',
    },
  ],
  notes: [cancelNote],
  run: (context, { args: { path, ...params }, options: { disk, ...options } }) =>
    exported(context, 'Snapshot', path, options, ({ body, ...input }) =>
      context.client.call('POST /v1/instances/{instance}/snapshots/{snapshot}/export', {
        params,
        body: { ...body, ...(disk === undefined ? {} : { disk }) },
        ...input,
      }),
    ),
});

export const commands: Commands = {
  'snapshot create': create,
  'snapshot ls': ls,
  'snapshot show': show,
  'snapshot restore': restore,
  'snapshot rm': rm,
  'snapshot export': exportSnapshot,
};
