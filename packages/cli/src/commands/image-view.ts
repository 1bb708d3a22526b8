/** What people see of images: the list, and one in full. */
import type { Image } from '@wirt/api';
import type { View } from '../print.ts';
import type { Cell } from '../table.ts';
import { bytesText, sizeText } from '../units.ts';

/** What it takes where it is stored. */
export function storedText({ status }: Image): string {
  return status.sizeBytes === undefined ? '-' : bytesText(status.sizeBytes);
}

/** Size of the disk that a guest sees. */
function virtualText({ status }: Image): string {
  return status.virtualSizeBytes === undefined ? '-' : sizeText(status.virtualSizeBytes);
}

function originText({ spec }: Image): string {
  return spec.recipe ?? spec.source ?? '-';
}

export function imageListView(items: readonly Image[]): View {
  const rows = items.map((image): Cell[] => [
    image.name,
    { text: image.status.state, tone: image.status.state === 'ready' ? 'good' : 'warn' },
    image.spec.format,
    storedText(image),
    virtualText(image),
    image.status.firmware?.join(', ') ?? '-',
    image.status.sha256?.slice(0, 12) ?? '-',
    originText(image),
  ]);
  const columns = ['NAME', 'STATE', 'FORMAT', 'STORED', 'DISK', 'BOOTS BY', 'SHA-256', 'FROM'];
  const empty = 'No images. Build one: wirt image build debian-12; or fetch one: wirt image pull NAME.';
  return {
    data: items,
    names: items.map(({ name }) => name),
    table: () => [{ kind: 'table', columns, rows, empty }],
  };
}

export function imageView(image: Image): View {
  const { spec, status, labels } = image;
  const known = [
    ['Recipe', spec.recipe],
    ['Source', spec.source],
    ['SHA-256', status.sha256],
    ['File', status.file],
    ['Boots by', status.firmware?.join(', ')],
    ['cloud-init', status.cloudInit === undefined ? undefined : status.cloudInit ? 'yes' : 'no'],
    ['Kernel', status.kernel],
    ['Initrd', status.initrd],
    ['Kernel arguments', status.kernelArgs],
    ['Description', status.description],
  ] as const;
  return {
    data: image,
    names: [image.name],
    table: () => [
      {
        kind: 'fields',
        fields: [
          ['Name', { text: image.name, tone: 'bold' }],
          ['Id', image.id],
          ['State', { text: status.state, tone: status.state === 'ready' ? 'good' : 'warn' }],
          ['Format', spec.format],
          ['Stored', storedText(image)],
          ['Disk', virtualText(image)],
          ['Created', image.createdAt],
          ...known.flatMap(([label, value]) => (value === undefined ? [] : [[label, value] as const])),
        ],
      },
      { kind: 'fields', title: 'Labels', fields: Object.entries(labels) },
    ],
  };
}

/** What to do with an image that has just come to be. */
export function readyLine(image: Image): string {
  const what = `Image ${image.name} is ready, ${storedText(image)}.`;
  return image.spec.format === 'iso'
    ? `${what} Boot from it: wirt run --cdrom ${image.name} --disk 20G`
    : `${what} Run it: wirt run ${image.name}`;
}
