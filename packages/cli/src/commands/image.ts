/** `wirt image ls|show|build|rm`. */
import type { Image, Operation } from '@wirt/api';
import { type Commands, command } from '../command.ts';
import { idempotent } from '../context.ts';
import { limitOf, moreNote, pagingOptions, readPages } from '../paging.ts';
import type { View } from '../print.ts';
import { bytesText } from '../units.ts';
import { waitForOperation } from '../wait.ts';

/** A build downloads a kernel; on a slow line that takes a while. */
const buildSeconds = 1800;

function sizeText({ status }: Image): string {
  return status.sizeBytes === undefined ? '-' : bytesText(status.sizeBytes);
}

function imageView(image: Image): View {
  const { spec, status, labels } = image;
  const files = [
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
          ['Recipe', spec.recipe],
          ['Format', spec.format],
          ['Size', sizeText(image)],
          ['Created', image.createdAt],
          ...files.flatMap(([label, value]) => (value === undefined ? [] : [[label, value] as const])),
        ],
      },
      ...(Object.keys(labels).length > 0
        ? [{ kind: 'fields', title: 'Labels', fields: Object.entries(labels) } as const]
        : []),
    ],
  };
}

const ls = command({
  arguments: {},
  options: pagingOptions,
  examples: [{ line: 'wirt image ls', does: 'Images that instances can be made from.' }],
  async run(context, { options }) {
    const { items, more } = await readPages(
      (query) => context.client.call('GET /v1/images', { query }),
      limitOf(options),
    );
    if (more) context.note(moreNote);
    return {
      view: {
        data: items,
        names: items.map(({ name }) => name),
        table: () => [
          {
            kind: 'table',
            columns: ['NAME', 'STATE', 'RECIPE', 'SIZE', 'CREATED'],
            rows: items.map((image) => [
              image.name,
              image.status.state,
              image.spec.recipe,
              sizeText(image),
              image.createdAt,
            ]),
            empty: 'No images. Build one: wirt image build micro.',
          },
        ],
      },
    };
  },
});

const show = command({
  arguments: { image: { summary: 'Name or id of the image', complete: 'image' } },
  options: {},
  examples: [{ line: 'wirt image show micro', does: 'Its files, size and kernel arguments.' }],
  async run(context, { args }) {
    return {
      view: imageView(await context.client.call('GET /v1/images/{image}', { params: { image: args.image } })),
    };
  },
});

const build = command({
  arguments: { recipe: { summary: '“micro”: Debian’s cloud kernel with busybox and the guest agent' } },
  options: {
    name: { kind: 'text', value: 'NAME', summary: 'Name of the image (default: that of the recipe)' },
    'no-wait': { kind: 'flag', summary: 'Return at once with the operation' },
    timeout: { kind: 'seconds', value: 'SECONDS', default: buildSeconds, summary: 'How long to wait' },
  },
  examples: [
    {
      line: 'wirt image build micro',
      does: 'Downloads and unpacks packages; nothing is installed on the host.',
    },
    { line: 'wirt image build micro --name micro-2', does: 'Under another name.' },
  ],
  notes: ['Ctrl-C cancels the build, and what it has made is taken away; a second Ctrl-C leaves at once.'],
  async run(context, { args, options }) {
    const { name } = options;
    const first = await context.client.call('POST /v1/images/build', {
      body: { recipe: args.recipe, ...(name === undefined ? {} : { name }) },
      ...idempotent(),
    });
    if (options['no-wait'])
      return { view: lineView(first, `Building ${first.target.name} goes on as operation ${first.id}`) };
    await waitForOperation(context, first, { timeoutSeconds: options.timeout, cancelOnInterrupt: true });
    const image = await context.client.call('GET /v1/images/{image}', { params: { image: first.target.id } });
    const lines = [`Image ${image.name} is ready, ${sizeText(image)}. Run it: wirt run ${image.name}`];
    return { view: { ...imageView(image), table: () => [{ kind: 'lines', lines }] } };
  },
});

function lineView(operation: Operation, line: string): View {
  return { data: operation, names: [operation.id], table: () => [{ kind: 'lines', lines: [line] }] };
}

const rm = command({
  arguments: { image: { summary: 'Names or ids of images', many: true, complete: 'image' } },
  options: {},
  examples: [{ line: 'wirt image rm micro-2', does: 'Refused while an instance uses it.' }],
  async run(context, { args }) {
    const removed: string[] = [];
    const failures: unknown[] = [];
    for (const image of args.image) {
      try {
        await context.client.call('DELETE /v1/images/{image}', { params: { image } });
        removed.push(image);
      } catch (error) {
        failures.push(error);
      }
    }
    if (removed.length === 0) return { failures };
    const view: View = {
      data: removed.map((name) => ({ name, removed: true })),
      names: removed,
      table: () => [{ kind: 'lines', lines: removed.map((name) => `Image ${name} is removed`) }],
    };
    return { view, failures };
  },
});

export const commands: Commands = {
  'image ls': ls,
  'image show': show,
  'image build': build,
  'image rm': rm,
};
