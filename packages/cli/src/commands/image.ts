/** `wirt image ls|show|build|rm`. Imports, pulls and exports are in image-transfer. */
import { type Commands, command } from '../command.ts';
import { idempotent } from '../context.ts';
import { cancelNote, followOptions } from '../follow.ts';
import { limitOf, moreNote, pagingOptions, readPages } from '../paging.ts';
import { imageMade } from './image-transfer.ts';
import { imageListView, imageView } from './image-view.ts';
import { forEach } from './side-by-side.ts';

/** A build downloads packages; on a slow line that takes a while. */
const buildSeconds = 3600;

const ls = command({
  arguments: {},
  options: pagingOptions,
  examples: [{ line: 'wirt image ls', does: 'Images that instances can be made from, and media.' }],
  notes: ['STORED is what the files take, DISK the size that a guest sees.'],
  async run(context, { options }) {
    const { items, more } = await readPages(
      (query) => context.client.call('GET /v1/images', { query }),
      limitOf(options),
    );
    if (more) context.note(moreNote);
    return { view: imageListView(items) };
  },
});

const show = command({
  arguments: { image: { summary: 'Name or id of the image', complete: 'image' } },
  options: {},
  examples: [
    { line: 'wirt image show debian-12', does: 'Its format, sizes, digest, and where it came from.' },
  ],
  async run(context, { args }) {
    return { view: imageView(await context.client.call('GET /v1/images/{image}', { params: args })) };
  },
});

const build = command({
  arguments: {
    recipe: {
      summary:
        '“debian-12”: Debian with cloud-init; “micro”: Debian’s kernel with busybox and the guest agent',
    },
  },
  options: {
    name: { kind: 'text', value: 'NAME', summary: 'Name of the image (default: that of the recipe)' },
    ...followOptions(buildSeconds),
  },
  examples: [
    {
      line: 'wirt image build debian-12',
      does: 'A disk image that boots by BIOS and UEFI, from Debian’s mirror.',
    },
    {
      line: 'wirt image build micro --name micro-2',
      does: 'Small and quick, for trying things; nothing is installed on the host.',
    },
  ],
  notes: [cancelNote],
  async run(context, { args, options }) {
    const { name } = options;
    const operation = await context.client.call('POST /v1/images/build', {
      body: { recipe: args.recipe, ...(name === undefined ? {} : { name }) },
      ...idempotent(),
    });
    return imageMade(context, operation, options);
  },
});

const rm = command({
  arguments: { image: { summary: 'Names or ids of images', many: true, complete: 'image' } },
  options: {},
  examples: [
    { line: 'wirt image rm micro-2', does: 'Refused while an instance or a volume uses it; says which.' },
  ],
  run: (context, { args }) =>
    forEach(args.image, async (image) => {
      await context.client.call('DELETE /v1/images/{image}', { params: { image } });
      return { name: image, line: `Image ${image} is removed`, record: { name: image, removed: true } };
    }),
});

export const commands: Commands = {
  'image ls': ls,
  'image show': show,
  'image build': build,
  'image rm': rm,
};
