/** `wirt media insert` and `eject`: what is in the CD drives of an instance, also of a running one. */
import type { CdromDisk, Instance } from '@wirt/api';
import { WirtError } from '@wirt/api/errors';
import { type Commands, type Context, command, type Outcome } from '../command.ts';
import { idempotent } from '../context.ts';
import { type FollowValues, followed, followOptions, lineView } from '../follow.ts';

const instance = { summary: 'Name or id of the instance', complete: 'instance' } as const;
const options = {
  drive: { kind: 'text', value: 'DISK', summary: 'Which CD drive (default the only one)' },
  ...followOptions(120),
} as const;

const insert = command({
  arguments: { instance, image: { summary: 'An ISO image', complete: 'image' } },
  options,
  examples: [
    { line: 'wirt media insert web virtio-drivers', does: 'What was in the drive is taken out first.' },
  ],
  run: (context, { args, options: given }) => change(context, args.instance, args.image, given),
});

const eject = command({
  arguments: { instance },
  options,
  examples: [
    { line: 'wirt media eject web', does: 'After an installation, so that the disk is booted from.' },
  ],
  run: (context, { args, options: given }) => change(context, args.instance, null, given),
});

async function change(
  context: Context,
  name: string,
  image: string | null,
  given: FollowValues & { readonly drive: string | undefined },
): Promise<Outcome> {
  const disk =
    given.drive ??
    onlyDrive(await context.client.call('GET /v1/instances/{instance}', { params: { instance: name } })).name;
  const operation = await context.client.call('POST /v1/instances/{instance}/disks/{disk}/medium', {
    params: { instance: name, disk },
    body: { image },
    ...idempotent(),
  });
  const line =
    image === null ? `Drive ${disk} of ${name} is empty` : `${image} is in drive ${disk} of ${name}`;
  return followed(context, operation, given, (ended) => lineView(ended, ended.target.name, line));
}

function onlyDrive({ name, spec }: Instance): CdromDisk {
  const drives = spec.disks.filter((disk) => disk.device === 'cdrom');
  const [first, ...others] = drives;
  if (first === undefined)
    throw new WirtError('volume.not_attached', `${name} has no CD drive.`, {
      hint: 'An instance gets one when it is made: `wirt run --cdrom IMAGE`, or `--cdrom none` for an empty one.',
    });
  if (others.length > 0)
    throw new WirtError('request.invalid', `${name} has ${drives.length} CD drives.`, {
      hint: `Name one: \`--drive ${first.name}\`; there are ${drives.map((drive) => drive.name).join(', ')}.`,
    });
  return first;
}

export const commands: Commands = { 'media insert': insert, 'media eject': eject };
