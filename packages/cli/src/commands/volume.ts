/** `wirt volume ls|show|create|clone|resize|rename|flatten|export|rm`. Attaching is in disk. */
import type { Operation, Volume } from '@wirt/api';
import type { CallInput } from '@wirt/api/client';
import { type Commands, type Context, command, type Outcome } from '../command.ts';
import { idempotent } from '../context.ts';
import {
  cancelNote,
  copySeconds,
  type FollowValues,
  follow,
  followed,
  followOptions,
  goesOnLine,
  lineView,
} from '../follow.ts';
import { limitOf, moreNote, pagingOptions, readPages } from '../paging.ts';
import { usageError } from '../parse.ts';
import { BadValue, parseBytes, sizeText } from '../units.ts';
import { exported, exportFormatOption } from './disk-export.ts';
import { forEach } from './side-by-side.ts';
import { holdersOf, volumeListView, volumeView } from './volume-view.ts';

const volumeArgument = { volume: { summary: 'Name or id of the volume', complete: 'volume' } } as const;
const poolOption = {
  kind: 'text',
  value: 'POOL',
  complete: 'pool',
  summary: 'The pool to make it in (default “default”)',
} as const;

const ls = command({
  arguments: {},
  options: {
    pool: { kind: 'text', value: 'POOL', complete: 'pool', summary: 'Only those in this pool' },
    instance: { kind: 'text', value: 'NAME', complete: 'instance', summary: 'Only those attached to it' },
    ...pagingOptions,
  },
  examples: [
    { line: 'wirt volume ls', does: 'Size, what is allocated of it, and where it is attached.' },
    { line: 'wirt volume ls --instance web', does: 'The disks of an instance.' },
  ],
  async run(context, { options }) {
    const { pool, instance } = options;
    const filters = {
      ...(pool === undefined ? {} : { pool }),
      ...(instance === undefined ? {} : { instance }),
    };
    const { items, more } = await readPages(
      (page) => context.client.call('GET /v1/volumes', { query: { ...page, ...filters } }),
      limitOf(options),
    );
    if (more) context.note(moreNote);
    const holders = context.output === 'table' ? await holdersOf(context, items) : new Map<string, string>();
    return { view: volumeListView(items, holders) };
  },
});

const show = command({
  arguments: volumeArgument,
  options: {},
  examples: [{ line: 'wirt volume show data', does: 'Its size, origin, layers, and who has it.' }],
  async run(context, { args }) {
    const volume = await getVolume(context, args.volume);
    const holders =
      context.output === 'table' ? await holdersOf(context, [volume]) : new Map<string, string>();
    return { view: volumeView(volume, holders) };
  },
});

function getVolume(context: Context, volume: string): Promise<Volume> {
  return context.client.call('GET /v1/volumes/{volume}', { params: { volume } });
}

/** The operation on a volume, followed, and the volume as it then is, told in a line. */
function onVolume(
  context: Context,
  operation: Operation,
  options: FollowValues & { readonly cancels?: boolean },
  line: (volume: Volume) => string,
): Promise<Outcome> {
  return followed(context, operation, options, async ({ target }) => {
    const volume = await getVolume(context, target.id);
    return lineView(volume, volume.name, line(volume));
  });
}

type CreateBody = CallInput<'POST /v1/volumes'>['body'];

async function make(context: Context, body: CreateBody, options: FollowValues): Promise<Outcome> {
  const operation = await context.client.call('POST /v1/volumes', { body, ...idempotent() });
  return onVolume(
    context,
    operation,
    { ...options, cancels: true },
    ({ name, spec }) => `Volume ${name} is ready: ${sizeText(spec.sizeBytes)} in pool ${spec.pool}`,
  );
}

const create = command({
  arguments: { name: { summary: 'Name of the volume' } },
  options: {
    size: {
      kind: 'bytes',
      value: 'SIZE',
      short: 's',
      summary: 'Such as 512M, 10G or 1T; needed without a source, else at least the source’s',
    },
    pool: poolOption,
    format: { kind: 'choice', choices: ['qcow2', 'raw'], summary: 'How it is stored (default qcow2)' },
    'from-image': {
      kind: 'text',
      value: 'IMAGE',
      complete: 'image',
      summary: 'With the content of a disk image',
    },
    'from-volume': {
      kind: 'text',
      value: 'VOLUME',
      complete: 'volume',
      summary: 'With the content of a volume',
    },
    full: { kind: 'flag', summary: 'Copy the content now, instead of sharing it with the source' },
    ...followOptions(copySeconds),
  },
  examples: [
    { line: 'wirt volume create data --size 10G', does: 'Empty; takes space as it is written.' },
    { line: 'wirt volume create root2 --from-image debian-12 --size 20G', does: 'A linked clone, at once.' },
    { line: 'wirt volume create scratch --size 1T --format raw --pool fast', does: 'A sparse file.' },
  ],
  notes: [cancelNote],
  run(context, { args, options }) {
    const { size, pool, format, full, 'from-image': image, 'from-volume': volume } = options;
    if (image !== undefined && volume !== undefined)
      throw usageError('volume create', '--from-image and --from-volume exclude each other.');
    if (image === undefined && volume === undefined && size === undefined)
      throw usageError('volume create', 'An empty volume needs a size.', 'Give one with `--size 10G`.');
    if (full && image === undefined && volume === undefined)
      throw usageError('volume create', '--full goes with --from-image or --from-volume.');
    if (format === 'raw' && !full && (image ?? volume) !== undefined)
      throw usageError('volume create', 'A linked clone is always qcow2.', 'For raw, copy it: add --full.');
    const mode = full ? 'full' : 'linked';
    const source =
      image !== undefined
        ? ({ kind: 'image', image, mode } as const)
        : volume !== undefined
          ? ({ kind: 'volume', volume, mode } as const)
          : undefined;
    const body: CreateBody = {
      name: args.name,
      ...(size === undefined ? {} : { sizeBytes: size }),
      ...(pool === undefined ? {} : { pool }),
      ...(format === undefined ? {} : { format }),
      ...(source === undefined ? {} : { source }),
    };
    return make(context, body, options);
  },
});

const clone = command({
  arguments: {
    source: { summary: 'Name or id of the volume to clone', complete: 'volume' },
    name: { summary: 'Name of the clone' },
  },
  options: {
    full: { kind: 'flag', summary: 'Copy everything now, so that both stand alone' },
    size: { kind: 'bytes', value: 'SIZE', short: 's', summary: 'At least, and by default, the source’s' },
    pool: poolOption,
    ...followOptions(copySeconds),
  },
  examples: [
    { line: 'wirt volume clone golden web-root', does: 'Shares what the source holds now; made at once.' },
    { line: 'wirt volume clone golden copy --full', does: 'An independent copy.' },
  ],
  notes: [cancelNote],
  run(context, { args, options }) {
    const { size, pool, full } = options;
    const body: CreateBody = {
      name: args.name,
      ...(size === undefined ? {} : { sizeBytes: size }),
      ...(pool === undefined ? {} : { pool }),
      source: { kind: 'volume', volume: args.source, mode: full ? 'full' : 'linked' },
    };
    return make(context, body, options);
  },
});

const resize = command({
  arguments: { ...volumeArgument, size: { summary: 'The new size, such as 20G, or +5G for so much more' } },
  options: followOptions(300),
  examples: [
    { line: 'wirt volume resize data 20G', does: 'A running guest is told, and sees the new size.' },
    { line: 'wirt volume resize data +5G', does: 'Larger by 5 GiB. Volumes only grow.' },
  ],
  async run(context, { args, options }) {
    const sizeBytes = await newSize(context, args.volume, args.size);
    const operation = await context.client.call('POST /v1/volumes/{volume}/resize', {
      params: { volume: args.volume },
      body: { sizeBytes },
      ...idempotent(),
    });
    return onVolume(
      context,
      operation,
      options,
      ({ name, spec }) => `Volume ${name} has ${sizeText(spec.sizeBytes)} now`,
    );
  },
});

async function newSize(context: Context, volume: string, text: string): Promise<number> {
  const more = text.startsWith('+');
  try {
    const bytes = parseBytes(more ? text.slice(1) : text);
    return more ? (await getVolume(context, volume)).spec.sizeBytes + bytes : bytes;
  } catch (error) {
    if (error instanceof BadValue) throw usageError('volume resize', `SIZE ${error.message}.`);
    throw error;
  }
}

const rename = command({
  arguments: { ...volumeArgument, new: { summary: 'Its new name' } },
  options: {},
  examples: [{ line: 'wirt volume rename data archive', does: 'Also while it is attached.' }],
  async run(context, { args }) {
    const volume = await context.client.call('PATCH /v1/volumes/{volume}', {
      params: { volume: args.volume },
      body: { name: args.new },
    });
    return { view: lineView(volume, volume.name, `Volume ${args.volume} is now ${volume.name}`) };
  },
});

const flatten = command({
  arguments: volumeArgument,
  options: followOptions(copySeconds),
  examples: [
    {
      line: 'wirt volume flatten web-root',
      does: 'Copies what it shares with its source; then that can go.',
    },
  ],
  notes: [cancelNote],
  async run(context, { args, options }) {
    const operation = await context.client.call('POST /v1/volumes/{volume}/flatten', {
      params: args,
      ...idempotent(),
    });
    const following = { ...options, cancels: true };
    return onVolume(context, operation, following, ({ name }) => `Volume ${name} stands alone now`);
  },
});

const exportVolume = command({
  arguments: { ...volumeArgument, file: { summary: 'File to write; must not be there', complete: 'file' } },
  options: {
    format: exportFormatOption,
    ...followOptions(copySeconds),
  },
  examples: [
    { line: 'wirt volume export data ./data.qcow2', does: 'The whole of it, in one file without a base.' },
    { line: 'wirt volume export data /srv/data.img', does: 'Raw.' },
  ],
  notes: [cancelNote],
  run: (context, { args, options }) =>
    exported(context, 'Volume', args.file, options, (input) =>
      context.client.call('POST /v1/volumes/{volume}/export', { params: { volume: args.volume }, ...input }),
    ),
});

const rm = command({
  arguments: { volume: { summary: 'Names or ids of volumes', many: true, complete: 'volume' } },
  options: followOptions(300),
  examples: [
    { line: 'wirt volume rm data', does: 'Refused while it is attached, or a clone or snapshot needs it.' },
  ],
  run: (context, { args, options }) =>
    forEach(args.volume, async (volume) => {
      const operation = await context.client.call('DELETE /v1/volumes/{volume}', { params: { volume } });
      const ended = await follow(context, operation, options, { silent: args.volume.length > 1 });
      const { name } = operation.target;
      const line = ended === undefined ? goesOnLine(operation) : `Volume ${name} is removed`;
      return { name, line, record: ended ?? operation };
    }),
});

export const commands: Commands = {
  'volume ls': ls,
  'volume show': show,
  'volume create': create,
  'volume clone': clone,
  'volume resize': resize,
  'volume rename': rename,
  'volume flatten': flatten,
  'volume export': exportVolume,
  'volume rm': rm,
};
