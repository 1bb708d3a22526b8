/** `wirt image import|pull|export`: images from files, addresses and catalogues, and out again. */
import type { Operation } from '@wirt/api';
import { type Commands, type Context, command, type Outcome } from '../command.ts';
import { idempotent } from '../context.ts';
import { cancelNote, copySeconds, type FollowValues, followed, followOptions } from '../follow.ts';
import {
  diskFormat,
  diskFormatChoices,
  nameFromFile,
  type Source,
  sourceOf,
  sourcePath,
} from '../host-path.ts';
import { usageError } from '../parse.ts';
import { BadValue, quote } from '../units.ts';
import { exported, exportFormatOption } from './disk-export.ts';
import { imageView, readyLine } from './image-view.ts';

/** Waits, and tells of the image that came of it. */
export function imageMade(context: Context, operation: Operation, options: FollowValues): Promise<Outcome> {
  return followed(context, operation, { ...options, cancels: true }, async ({ target }) => {
    const image = await context.client.call('GET /v1/images/{image}', { params: { image: target.id } });
    return { ...imageView(image), table: () => [{ kind: 'lines', lines: [readyLine(image)] }] };
  });
}

const importImage = command({
  arguments: { source: { summary: 'A disk or ISO file, or its http or https address', complete: 'file' } },
  options: {
    name: { kind: 'text', value: 'NAME', summary: 'Name of the image (default that of the file)' },
    format: {
      kind: 'choice',
      choices: diskFormatChoices,
      summary: 'What the disk must be (default what it is found to be)',
    },
    compression: {
      kind: 'choice',
      choices: ['none', 'gzip', 'xz', 'zstd'],
      summary: 'How the file is packed (default what it is found to be)',
    },
    sha256: { kind: 'text', value: 'DIGEST', summary: 'SHA-256 that the file must have, as it is fetched' },
    ...followOptions(copySeconds),
  },
  examples: [
    { line: 'wirt image import ./disk.vmdk --name old-server', does: 'Converted to qcow2, in a sandbox.' },
    { line: 'wirt image import ./netinst.iso', does: 'A medium, for `wirt run --cdrom netinst`.' },
    {
      line: 'wirt image import https://example.org/os.qcow2.xz --sha256 DIGEST',
      does: 'Fetched and checked.',
    },
  ],
  notes: [cancelNote],
  async run(context, { args, options }) {
    const source = placeOf(args.source);
    const name = options.name ?? nameFromFile(source);
    if (name === undefined)
      throw usageError(
        'image import',
        `${quote(args.source)} gives the image no name.`,
        'Give one: `--name NAME`.',
      );
    const sha256 = options.sha256?.toLowerCase();
    if (sha256 !== undefined && !/^[0-9a-f]{64}$/.test(sha256))
      throw usageError('image import', '--sha256 takes 64 hexadecimal digits.');
    const { format, compression } = options;
    const operation = await context.client.call('POST /v1/images/import', {
      body: {
        name,
        ...('path' in source ? { path: sourcePath(source.path) } : source),
        ...(format === undefined ? {} : { format: diskFormat(format) }),
        ...(compression === undefined ? {} : { compression }),
        ...(sha256 === undefined ? {} : { sha256 }),
      },
      ...idempotent(),
    });
    return imageMade(context, operation, options);
  },
});

function placeOf(text: string): Source {
  try {
    return sourceOf(text);
  } catch (error) {
    if (error instanceof BadValue) throw usageError('image import', `SOURCE ${error.message}.`);
    throw error;
  }
}

const pull = command({
  arguments: {
    image: { summary: 'Name in the catalogue, such as ubuntu/24.04; CATALOGUE:NAME names the catalogue too' },
  },
  options: {
    name: { kind: 'text', value: 'NAME', summary: 'Name of the image here (default made from that one)' },
    ...followOptions(copySeconds),
  },
  examples: [
    {
      line: 'wirt image pull ubuntu/24.04',
      does: 'Fetches it, checks its digest, and goes on where it was cut off.',
    },
    { line: 'wirt image pull incus:debian/12 --name debian', does: 'From a certain catalogue.' },
  ],
  notes: [cancelNote],
  async run(context, { args, options }) {
    const { name } = options;
    const operation = await context.client.call('POST /v1/images/pull', {
      body: { image: args.image, ...(name === undefined ? {} : { name }) },
      ...idempotent(),
    });
    return imageMade(context, operation, options);
  },
});

const exportImage = command({
  arguments: {
    image: { summary: 'Name or id of the image', complete: 'image' },
    file: { summary: 'File to write; must not be there', complete: 'file' },
  },
  options: {
    format: exportFormatOption,
    ...followOptions(copySeconds),
  },
  examples: [
    { line: 'wirt image export debian-12 ./debian-12.qcow2', does: 'The disk, in one file.' },
    { line: 'wirt image export debian-12 ./debian-12.vmdk', does: 'For VMware.' },
  ],
  notes: [cancelNote],
  run: (context, { args, options }) =>
    exported(context, 'Image', args.file, options, (input) =>
      context.client.call('POST /v1/images/{image}/export', { params: { image: args.image }, ...input }),
    ),
});

export const commands: Commands = {
  'image import': importImage,
  'image pull': pull,
  'image export': exportImage,
};
