/** `wirt volume attach` and `detach`: a volume becomes a disk of an instance, and is one no more, also of a running guest. */
import type { Instance } from '@wirt/api';
import { WirtError } from '@wirt/api/errors';
import { type Commands, type Context, command } from '../command.ts';
import { idempotent } from '../context.ts';
import { followed, followOptions, lineView } from '../follow.ts';

export const busChoices = ['virtio', 'virtio-scsi', 'sata', 'nvme', 'pvscsi', 'lsi'] as const;

const attach = command({
  arguments: {
    volume: { summary: 'Name or id of the volume', complete: 'volume' },
    instance: { summary: 'Name or id of the instance', complete: 'instance' },
  },
  options: {
    name: {
      kind: 'text',
      value: 'DISK',
      summary: 'Name of the disk, which the guest sees as serial number (default disk1, disk2, …)',
    },
    bus: { kind: 'choice', choices: busChoices, summary: 'How the guest sees it (default virtio)' },
    'read-only': { kind: 'flag', summary: 'The guest cannot write to it' },
    boot: {
      kind: 'integer',
      value: 'N',
      min: 1,
      max: 64,
      summary: 'Its place in the boot order; without it, it is not booted from',
    },
    'delete-with-instance': { kind: 'flag', summary: 'Remove the volume with the instance' },
    ...followOptions(120),
  },
  examples: [
    { line: 'wirt volume attach data web', does: 'A running guest gets it at once.' },
    { line: 'wirt volume attach iso-tools web --name tools --read-only', does: 'As the disk “tools”.' },
  ],
  async run(context, { args, options }) {
    const { name, bus, boot } = options;
    const operation = await context.client.call('POST /v1/instances/{instance}/disks', {
      params: { instance: args.instance },
      body: {
        volume: args.volume,
        ...(name === undefined ? {} : { name }),
        ...(bus === undefined ? {} : { bus }),
        ...(boot === undefined ? {} : { bootOrder: boot }),
        readOnly: options['read-only'],
        deleteOnTermination: options['delete-with-instance'],
      },
      ...idempotent(),
    });
    return followed(context, operation, options, async ({ target }) => {
      const volume = await context.client.call('GET /v1/volumes/{volume}', {
        params: { volume: args.volume },
      });
      const disk = volume.status.attachment?.disk ?? 'a disk';
      return lineView(volume, volume.name, `Volume ${volume.name} is attached to ${target.name} as ${disk}`);
    });
  },
});

const detach = command({
  arguments: {
    disk: { summary: 'Name or id of the volume, or INSTANCE/DISK', complete: 'volume' },
  },
  options: followOptions(120),
  examples: [
    {
      line: 'wirt volume detach data',
      does: 'From whichever instance has it; the guest has to let go of it.',
    },
    { line: 'wirt volume detach web/disk1', does: 'By the name of the disk.' },
  ],
  notes: [
    'The volume stays. Unmount it in the guest first: Linux lets a mounted disk go too, and what was not written is lost.',
  ],
  async run(context, { args, options }) {
    const place = await placeOf(context, args.disk);
    const operation = await context.client.call('DELETE /v1/instances/{instance}/disks/{disk}', {
      params: place,
    });
    return followed(context, operation, options, (ended) =>
      lineView(ended, args.disk, `${args.disk} is detached from ${ended.target.name}`),
    );
  },
});

async function placeOf(context: Context, text: string): Promise<{ instance: string; disk: string }> {
  const [instance, disk, ...more] = text.split('/');
  if (instance !== undefined && disk !== undefined && instance !== '' && disk !== '' && more.length === 0)
    return { instance, disk };
  const { name, status } = await context.client.call('GET /v1/volumes/{volume}', {
    params: { volume: text },
  });
  if (status.attachment === undefined)
    throw new WirtError('volume.not_attached', `Volume ${name} is attached to no instance.`, {
      hint: 'See `wirt volume ls`.',
    });
  return { instance: status.attachment.instance satisfies Instance['id'], disk: status.attachment.disk };
}

export const commands: Commands = { 'volume attach': attach, 'volume detach': detach };
