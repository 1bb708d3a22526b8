/** `wirt pool ls|show|create|rm`: where volumes lie, and how full it is there. */
import type { Pool } from '@wirt/api';
import { type Commands, command } from '../command.ts';
import { lineView } from '../follow.ts';
import { hostPath } from '../host-path.ts';
import { limitOf, moreNote, pagingOptions, readPages } from '../paging.ts';
import { usageError } from '../parse.ts';
import type { View } from '../print.ts';
import type { Cell } from '../table.ts';
import { bytesText } from '../units.ts';
import { forEach } from './side-by-side.ts';

function stateCell({ status }: Pool): Cell {
  return { text: status.state, tone: status.state === 'ready' ? 'good' : 'bad' };
}

function amount(bytes: number | undefined): string {
  return bytes === undefined ? '-' : bytesText(bytes);
}

/** What the volumes may grow to, by what there is. */
function overcommitText({ status }: Pool): string {
  return status.overcommit === undefined ? '-' : `${Math.round(status.overcommit * 100)} %`;
}

const ls = command({
  arguments: {},
  options: pagingOptions,
  examples: [{ line: 'wirt pool ls', does: 'What each holds, and what is free.' }],
  notes: [
    'ALLOCATED is what the volumes take now, PROVISIONED what they may grow to, OVERCOMMIT its share of the capacity.',
  ],
  async run(context, { options }) {
    const { items, more } = await readPages(
      (query) => context.client.call('GET /v1/pools', { query }),
      limitOf(options),
    );
    if (more) context.note(moreNote);
    for (const { name, status } of context.output === 'table' ? items : [])
      if (status.message !== undefined) context.note(`Pool ${name} cannot be used: ${status.message}`);
    const rows = items.map((pool): Cell[] => [
      pool.name,
      stateCell(pool),
      amount(pool.status.capacityBytes),
      amount(pool.status.availableBytes),
      amount(pool.status.allocatedBytes),
      amount(pool.status.provisionedBytes),
      overcommitText(pool),
      String(pool.status.volumes),
      pool.spec.path,
    ]);
    const columns = [
      ...['NAME', 'STATE', 'CAPACITY', 'FREE', 'ALLOCATED', 'PROVISIONED', 'OVERCOMMIT', 'VOLUMES', 'PATH'],
    ];
    return {
      view: {
        data: items,
        names: items.map(({ name }) => name),
        table: () => [{ kind: 'table', columns, rows, empty: 'No pools.' }],
      },
    };
  },
});

function poolView(pool: Pool): View {
  const { spec, status } = pool;
  return {
    data: pool,
    names: [pool.name],
    table: () => [
      {
        kind: 'fields',
        fields: [
          ['Name', { text: pool.name, tone: 'bold' }],
          ['Id', pool.id],
          ['State', stateCell(pool)],
          ...(status.message === undefined ? [] : [['Why', status.message] as const]),
          ['Driver', spec.driver],
          ['Path', spec.path],
          ['Capacity', amount(status.capacityBytes)],
          ['Free', amount(status.availableBytes)],
          ['Reserve', `${spec.reservePercent} %, ${amount(status.reserveBytes)}: nothing is begun below it`],
          ['Allocated', amount(status.allocatedBytes)],
          ['Provisioned', `${amount(status.provisionedBytes)}, ${overcommitText(pool)} of the capacity`],
          ['Volumes', String(status.volumes)],
          ['Created', pool.createdAt],
        ],
      },
    ],
  };
}

const show = command({
  arguments: { pool: { summary: 'Name or id of the pool', complete: 'pool' } },
  options: {},
  examples: [{ line: 'wirt pool show default', does: 'Its directory, capacity, reserve and volumes.' }],
  async run(context, { args }) {
    return { view: poolView(await context.client.call('GET /v1/pools/{pool}', { params: args })) };
  },
});

const create = command({
  arguments: { name: { summary: 'Name of the pool' } },
  options: {
    path: {
      kind: 'text',
      value: 'DIR',
      complete: 'file',
      summary: 'The directory; made when absent (needed)',
    },
    reserve: {
      kind: 'integer',
      value: 'PERCENT',
      min: 0,
      max: 90,
      summary: 'Share of the storage that stays free (default 5)',
    },
  },
  examples: [
    { line: 'wirt pool create fast --path /mnt/nvme/wirt', does: 'Volumes go there with --pool fast.' },
    { line: 'wirt pool create bulk --path /srv/wirt --reserve 10', does: 'Refuses to fill the last tenth.' },
  ],
  async run(context, { args, options }) {
    const { path, reserve } = options;
    if (path === undefined) throw usageError('pool create', 'wirt pool create needs --path DIR.');
    const spec = {
      path: hostPath(path),
      ...(reserve === undefined ? {} : { reservePercent: reserve }),
    };
    const pool = await context.client.call('POST /v1/pools', {
      body: { name: args.name, spec },
    });
    const line = `Pool ${pool.name} is in ${pool.spec.path}, ${amount(pool.status.availableBytes)} free`;
    return { view: lineView(pool, pool.name, line) };
  },
});

const rm = command({
  arguments: { pool: { summary: 'Names or ids of pools', many: true, complete: 'pool' } },
  options: {},
  examples: [{ line: 'wirt pool rm fast', does: 'Refused while it has volumes. The directory stays.' }],
  run: (context, { args }) =>
    forEach(args.pool, async (pool) => {
      await context.client.call('DELETE /v1/pools/{pool}', { params: { pool } });
      return { name: pool, line: `Pool ${pool} is given up`, record: { name: pool, removed: true } };
    }),
});

export const commands: Commands = { 'pool ls': ls, 'pool show': show, 'pool create': create, 'pool rm': rm };
