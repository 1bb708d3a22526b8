/** `wirt host device ls|show|create-vfs|remove-vfs`: the host's PCI devices, who has them, and virtual functions in pools. */
import type { HostDevice } from '@wirt/api';
import { type Commands, command } from '../command.ts';
import { lineView } from '../follow.ts';
import { limitOf, moreNote, pagingOptions, readPages } from '../paging.ts';
import { usageError } from '../parse.ts';
import type { View } from '../print.ts';
import type { Block, Cell } from '../table.ts';

const kinds = ['network', 'storage', 'display', 'bridge', 'other'] as const;
/** Not completed: the shells take a colon for the end of a word. */
const addressArgument = {
  device: { summary: 'Address of the device, as in 0000:03:00.0' },
} as const;

const ls = command({
  arguments: {},
  options: {
    kind: { kind: 'choice', choices: kinds, summary: 'Only devices of this kind' },
    pool: { kind: 'text', value: 'POOL', summary: 'Only virtual functions of this pool' },
    ...pagingOptions,
  },
  examples: [
    {
      line: 'wirt host device ls',
      does: 'All of them; `wirt host device show ADDRESS` says why one cannot be had.',
    },
    { line: 'wirt host device ls --pool fast', does: 'Virtual functions, and which guests have them.' },
  ],
  async run(context, { options }) {
    const { kind, pool } = options;
    const asked = { ...(kind === undefined ? {} : { kind }), ...(pool === undefined ? {} : { pool }) };
    const { items, more } = await readPages(
      (query) => context.client.call('GET /v1/host/devices', { query: { ...query, ...asked } }),
      limitOf(options),
    );
    if (more) context.note(moreNote);
    const rows = items.map((device): Cell[] => [
      device.address,
      device.kind,
      idText(device),
      device.driver ?? '-',
      device.iommuGroup === undefined ? '-' : String(device.iommuGroup),
      functionsText(device),
      device.pool?.name ?? '-',
      usableCell(device),
    ]);
    const columns = ['ADDRESS', 'KIND', 'ID', 'DRIVER', 'GROUP', 'FUNCTIONS', 'POOL', 'FOR GUESTS'];
    return {
      view: {
        data: items,
        names: items.map(({ address }) => address),
        table: () => [{ kind: 'table', columns, rows, empty: 'No such PCI devices.' }],
      },
    };
  },
});

const idText = ({ vendorId, deviceId }: HostDevice): string => `${vendorId}:${deviceId}`;

function functionsText({ sriov }: HostDevice): string {
  if (sriov.physicalFunction !== undefined) return `of ${sriov.physicalFunction}`;
  return sriov.totalVfs === 0 ? '-' : `${sriov.numVfs} of ${sriov.totalVfs}`;
}

/** In a word; the whole reason is in `show`. */
function usableCell({ usable, leasedTo, inUse, iommuGroup, kind }: HostDevice): Cell {
  if (leasedTo.length > 0)
    return { text: `lent to ${leasedTo.map(({ instance }) => instance).join(', ')}`, tone: 'warn' };
  if (usable) return { text: 'yes', tone: 'good' };
  const [use] = inUse;
  if (kind === 'bridge') return { text: 'no: a bridge', tone: 'dim' };
  if (use !== undefined) return { text: `no: ${use.name} ${use.reason}`, tone: 'dim' };
  return { text: iommuGroup === undefined ? 'no: no IOMMU' : 'no: its group is shared', tone: 'dim' };
}

const show = command({
  arguments: addressArgument,
  options: {},
  examples: [
    {
      line: 'wirt host device show 0000:03:00.0',
      does: 'Whether a guest can have it, and if not, why, and what to do.',
    },
  ],
  async run(context, { args }) {
    return { view: deviceView(await context.client.call('GET /v1/host/devices/{device}', { params: args })) };
  },
});

function deviceView(device: HostDevice): View {
  return { data: device, names: [device.address], table: () => deviceBlocks(device) };
}

function deviceBlocks(device: HostDevice): Block[] {
  const { usable, why, hint, iommuGroup, groupMembers, sriov, pool, leasedTo, mediatedTypes } = device;
  const text = (label: string, value: string | undefined) =>
    value === undefined || value === '' ? [] : [[label, value] as const];
  return [
    {
      kind: 'fields',
      fields: [
        ['Address', { text: device.address, tone: 'bold' }],
        ['Kind', device.kind],
        ['Vendor and device', idText(device)],
        ['Driver', device.driver ?? 'none'],
        ['For guests', usable ? { text: 'yes', tone: 'good' } : { text: 'no', tone: 'warn' }],
        ...text('Why', why),
        ...text('What to do', hint),
        ['IOMMU group', iommuGroup === undefined ? 'none' : String(iommuGroup)],
        ...text('Shared with', groupMembers.join(', ')),
        ...text('NUMA node', device.numaNode === undefined ? undefined : String(device.numaNode)),
        ['Can be reset', device.resettable ? 'yes' : 'no'],
        ...text('In use', device.inUse.map(({ name, reason }) => `${name} ${reason}`).join(', ')),
        ...text('Virtual functions', functionsText(device)),
        ...text('They are', sriov.vfs.join(', ')),
        ...text('Pool', pool?.name),
        ...text('Problem', pool?.problem),
        ...text(
          'Lent to',
          leasedTo
            .map(({ instance, device: name, mdev }) => `${instance} as ${name}${mdev ? ` (${mdev})` : ''}`)
            .join(', '),
        ),
        ...text(
          'Mediated types',
          mediatedTypes
            .map(({ id, name, available }) => `${id}${name ? ` (${name})` : ''}: ${available} more`)
            .join(', '),
        ),
        ...text(
          'Mediated devices',
          device.mediatedDevices.map(({ uuid, type }) => `${uuid} (${type})`).join(', '),
        ),
      ],
    },
  ];
}

const createVfs = command({
  arguments: addressArgument,
  options: {
    count: { kind: 'integer', value: 'N', min: 1, max: 65_535, summary: 'How many (needed)' },
    pool: {
      kind: 'text',
      value: 'NAME',
      summary: 'Pool that guests take them from (needed); made on first use',
    },
  },
  examples: [
    {
      line: 'wirt host device create-vfs 0000:03:00.0 --count 8 --pool fast',
      does: 'Then `wirt run debian-12 web --device pool=fast`. Made again after each boot.',
    },
  ],
  async run(context, { args, options }) {
    const { count, pool } = options;
    if (count === undefined || pool === undefined)
      throw usageError(
        'host device create-vfs',
        'wirt host device create-vfs needs --count N and --pool NAME.',
      );
    const device = await context.client.call('PUT /v1/host/devices/{device}/vfs', {
      params: args,
      body: { count, pool },
    });
    const line = `Device ${device.address} has ${device.sriov.numVfs} virtual functions in pool ${pool}`;
    return { view: lineView(device, device.address, line) };
  },
});

const removeVfs = command({
  arguments: addressArgument,
  options: {},
  examples: [
    { line: 'wirt host device remove-vfs 0000:03:00.0', does: 'Refused while a guest has one of them.' },
  ],
  async run(context, { args }) {
    await context.client.call('DELETE /v1/host/devices/{device}/vfs', { params: args });
    const line = `Device ${args.device} has no virtual functions`;
    return { view: lineView({ address: args.device, removed: true }, args.device, line) };
  },
});

export const commands: Commands = {
  'host device ls': ls,
  'host device show': show,
  'host device create-vfs': createVfs,
  'host device remove-vfs': removeVfs,
};
