/** What people see of volumes: the list, and one in full with its layers. */
import type { Volume } from '@wirt/api';
import type { Context } from '../command.ts';
import { readPages } from '../paging.ts';
import type { View } from '../print.ts';
import type { Cell } from '../table.ts';
import { bytesText, sizeText } from '../units.ts';

/** Names of instances by id, of those that have one of the volumes. */
export async function holdersOf(
  context: Context,
  volumes: readonly Volume[],
): Promise<ReadonlyMap<string, string>> {
  if (!volumes.some(({ status }) => status.attachment !== undefined)) return new Map();
  const { items } = await readPages(
    (page) => context.client.call('GET /v1/instances', { query: { ...page, fields: 'id,name' } }),
    'all',
  );
  return new Map(items.map(({ id, name }) => [id, name]));
}

/** `web/root`: the instance, and the disk that it has it as. */
function attachedTo({ status }: Volume, holders: ReadonlyMap<string, string>): string {
  const { attachment } = status;
  if (attachment === undefined) return '-';
  return `${holders.get(attachment.instance) ?? attachment.instance}/${attachment.disk}`;
}

function allocatedText({ status }: Volume): string {
  return status.allocatedBytes === undefined ? '-' : bytesText(status.allocatedBytes);
}

export function volumeListView(items: readonly Volume[], holders: ReadonlyMap<string, string>): View {
  const rows = items.map((volume): Cell[] => [
    volume.name,
    stateCell(volume),
    sizeText(volume.spec.sizeBytes),
    allocatedText(volume),
    volume.spec.format,
    volume.spec.pool,
    attachedTo(volume, holders),
  ]);
  const columns = ['NAME', 'STATE', 'SIZE', 'ALLOCATED', 'FORMAT', 'POOL', 'ATTACHED TO'];
  const empty = 'No volumes. Create one: wirt volume create NAME --size 10G.';
  return {
    data: items,
    names: items.map(({ name }) => name),
    table: () => [{ kind: 'table', columns, rows, empty }],
  };
}

function stateCell({ status }: Volume): Cell {
  return { text: status.state, tone: status.state === 'ready' ? 'good' : 'warn' };
}

export function volumeView(volume: Volume, holders: ReadonlyMap<string, string>): View {
  const { spec, status, labels } = volume;
  return {
    data: volume,
    names: [volume.name],
    table: () => [
      {
        kind: 'fields',
        fields: [
          ['Name', { text: volume.name, tone: 'bold' }],
          ['Id', volume.id],
          ['State', stateCell(volume)],
          ['Size', sizeText(spec.sizeBytes)],
          ['Allocated', allocatedText(volume)],
          ['Format', spec.format],
          ['Pool', spec.pool],
          ['Made from', originText(spec.origin)],
          ['Attached to', attachedTo(volume, holders)],
          ['Created', volume.createdAt],
        ],
      },
      {
        kind: 'table',
        title: 'Layers',
        columns: ['ID', 'FORMAT', 'SIZE', 'ON TOP OF', ''],
        rows: status.layers.map((layer): Cell[] => [
          layer.id,
          layer.format,
          sizeText(layer.sizeBytes),
          parentText(volume, layer.parent),
          layer.id === status.active ? 'written' : '',
        ]),
        empty: '',
      },
      { kind: 'fields', title: 'Labels', fields: Object.entries(labels) },
    ],
  };
}

function originText(origin: Volume['spec']['origin']): string {
  switch (origin.kind) {
    case 'empty':
      return 'nothing';
    case 'file':
      return `file ${origin.file}`;
    case 'image':
      return `image ${origin.image} (${origin.mode})`;
    case 'volume':
      return `volume ${origin.volume} (${origin.mode})`;
  }
}

function parentText({ id }: Volume, parent: Volume['status']['layers'][number]['parent']): string {
  if (parent === undefined) return '-';
  if ('image' in parent) return `image ${parent.image}`;
  return parent.volume === id ? parent.layer : `${parent.layer} of volume ${parent.volume}`;
}
