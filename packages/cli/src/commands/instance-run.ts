/** `wirt run`: creates an instance from an image, or from disks and media, and starts it. */
import type { Image, Instance } from '@wirt/api';
import type { CallInput } from '@wirt/api/client';
import { type Commands, type Context, command, type OptionValues } from '../command.ts';
import { idempotent } from '../context.ts';
import { usageError } from '../parse.ts';
import { waitForAddresses } from '../wait.ts';
import { actedOn, followInstance, type Waiting, waitOptions } from './instance-life.ts';
import { deviceOptions, deviceSpec } from './instance-run-devices.ts';
import { diskOptions, diskSpec, hasDisk } from './instance-run-disks.ts';
import { limitOptions, limitsGiven } from './instance-run-limits.ts';
import { metadataSpec, nicOptions, nicSpec } from './instance-run-nics.ts';
import { cloudInitSpec, seedOptions } from './instance-run-seed.ts';
import { tuningOptions, tuningSpec } from './instance-run-tuning.ts';
import { actedView } from './side-by-side.ts';

/** As in the contract, whose schemas are not loaded here. The daemon checks again. */
const maxCpus = 4096;
const addressSeconds = 5;

const options = {
  name: { kind: 'text', value: 'NAME', summary: 'Name of the instance, where no image is named before it' },
  cpus: {
    kind: 'integer',
    value: 'N',
    min: 1,
    max: maxCpus,
    short: 'c',
    summary: 'Virtual CPUs (default 1)',
  },
  memory: {
    kind: 'mib',
    value: 'SIZE',
    short: 'm',
    summary: 'Memory, such as 512M or 2G (default 1G; 256M for a kernel image)',
  },
  ...diskOptions,
  ...seedOptions,
  label: { kind: 'pair', value: 'KEY=VALUE', short: 'l', many: true, summary: 'A label' },
  restart: {
    kind: 'choice',
    choices: ['never', 'on-failure', 'always'],
    summary: 'What to do when the guest ends by itself (default never)',
  },
  autostart: { kind: 'flag', summary: 'Start it once after each boot of the host' },
  overcommit: { kind: 'flag', summary: 'Start although the host has less memory, vCPUs or space to promise' },
  machine: { kind: 'choice', choices: ['q35', 'microvm'], summary: 'QEMU machine type (default q35)' },
  accel: { kind: 'choice', choices: ['auto', 'kvm', 'tcg'], summary: 'Accelerator (default auto)' },
  cpu: { kind: 'text', value: 'MODEL', summary: 'QEMU CPU model (default host under KVM, max under TCG)' },
  ...tuningOptions,
  vsock: {
    kind: 'flag',
    summary: 'A socket to programs of the host; it opens a way to services of the host',
  },
  ...nicOptions,
  ...deviceOptions,
  ...limitOptions,
  paused: { kind: 'flag', summary: 'Leave the processors stopped' },
  console: { kind: 'flag', summary: 'Attach to its serial console' },
  ...waitOptions,
} as const;

const run = command({
  arguments: {
    image: {
      summary: 'Image to make it from; none with --cdrom, --disk or --volume',
      optional: true,
      complete: 'image',
    },
    name: { summary: 'Name of the instance; made up when left out', optional: true },
  },
  options,
  examples: [
    { line: 'wirt run micro demo', does: 'A small guest with one processor and 256 MiB.' },
    {
      line: 'wirt run debian-12 web --memory 1G --disk 20G --wait ready',
      does: 'Returns when cloud-init has finished; then `wirt ssh web`. Debian wants 512M at least.',
    },
    {
      line: 'wirt run --name installed --cdrom netinst --disk 20G --memory 2G --firmware uefi',
      does: 'Without an image: boots the ISO; the name comes by --name.',
    },
  ],
  notes: [
    'The first argument is always an image. Without --ssh-key, a guest with cloud-init gets your public keys',
    '(~/.ssh/id_ed25519.pub, id_ecdsa.pub, id_rsa.pub), or where you have none that of a key made for Wirt in ~/.config/wirt.',
    'With several --network, --ip and --publish are for the first card, --group and --nic-model for all.',
    'With --vsock, as in `wirt run micro box --vsock`, programs of host and guest meet by vsock(7); the guest’s CID is in `wirt show box`.',
    'Without an image, the first disk is booted from before CD drives: while it is empty the medium boots.',
  ],
  async run(context, { args, options: given }) {
    const body = await bodyOf(context, args, given);
    const operation = await context.client.call('POST /v1/instances', { body, ...idempotent() });
    const waiting: Waiting = {
      // A console is there when QEMU runs, and whoever attaches wants to see the boot.
      until: given.console ? 'done' : given.wait === 'running' ? 'done' : given.wait,
      timeoutSeconds: given.timeout,
      silent: false,
    };
    const instance = await followInstance(context, operation, waiting);
    if (given.console) {
      const { attachConsole, consoleDefaults } = await import('./guest-console.ts');
      return { exitCode: await attachConsole(context, operation.target.name, consoleDefaults) };
    }
    const ready = waiting.until === 'ready' && instance !== undefined;
    const found =
      ready && instance.spec.disks.length > 0
        ? await waitForAddresses(context, instance, addressSeconds)
        : instance;
    const acted = actedOn(operation, found, waiting);
    const line = `${acted.line}${ready && found !== undefined ? reachedBy(found) : ''}`;
    return { view: { ...actedView([{ ...acted, line }]), data: acted.record } };
  },
});

/** Refuses what can be told wrong without the daemon before it is asked anything. */
async function bodyOf(
  context: Context,
  args: { readonly image: string | undefined; readonly name: string | undefined },
  given: OptionValues<typeof options>,
): Promise<CreateInput> {
  if (given.paused && given.wait === 'ready')
    throw usageError('run', 'A paused guest does not get ready: leave out --paused or --wait ready.');
  if (args.image === undefined && !hasDisk(given))
    throw usageError(
      'run',
      'wirt run needs an image, or something else to boot from.',
      'Name an image (`wirt image ls`), or give --cdrom, --disk or --volume.',
    );
  const name = nameOf(args.name, given.name);
  checkDatasource(given);
  const nics = nicSpec(given);
  const metadata = metadataSpec(given);
  const tuning = tuningSpec(given);
  const devices = deviceSpec(given);
  const limited = await limitsGiven(given);
  const from = args.image === undefined ? 'nothing' : 'image';
  const disks = diskSpec(given, from);
  const image =
    args.image === undefined
      ? undefined
      : await context.client.call('GET /v1/images/{image}', { params: { image: args.image } });
  const cloudInit = await cloudInitSpec(context, given, image);
  const { cpus, memory, restart, machine, accel, cpu } = given;
  const spec = limited({
    ...(args.image === undefined ? {} : { image: args.image }),
    ...(cpus === undefined ? {} : { cpus }),
    ...(memory === undefined ? {} : { memoryMib: memory }),
    ...(restart === undefined ? {} : { restart }),
    ...(machine === undefined ? {} : { machine }),
    ...(accel === undefined ? {} : { accelerator: accel }),
    ...(cpu === undefined ? {} : { cpuModel: cpu }),
    ...tuning,
    ...devices,
    ...(given.vsock ? { vsock: true } : {}),
    ...nics,
    ...metadata,
    ...(image?.spec.format === 'kernel' ? kernelDisks(image, given) : disks),
    ...(cloudInit === undefined ? {} : { cloudInit }),
    autostart: given.autostart,
    overcommit: given.overcommit,
  });
  return {
    ...(name === undefined ? {} : { name }),
    labels: Object.fromEntries(given.label),
    spec,
    start: true,
    startPaused: given.paused,
  };
}

/** Over the network go no passwords, since every program in the guest can ask there. */
function checkDatasource(given: OptionValues<typeof options>): void {
  if (given['cloud-init'] !== 'metadata') return;
  const excluded = given.password
    ? 'password'
    : given['network-config'] !== undefined
      ? 'network-config'
      : given['no-metadata']
        ? 'no-metadata'
        : undefined;
  if (excluded !== undefined)
    throw usageError('run', `--cloud-init metadata and --${excluded} exclude each other.`);
  if (given.network.includes('none')) throw usageError('run', '--cloud-init metadata needs a network.');
}

/** A kernel has no disk that could be copied, and what was asked for it would be passed over in silence. */
function kernelDisks(image: Image, given: OptionValues<typeof options>): ReturnType<typeof diskSpec> {
  if (given.disk === undefined && !given.full) return diskSpec(given, 'kernel');
  throw usageError(
    'run',
    `Image ${image.name} is booted by its kernel and has no root disk for --disk or --full.`,
    'Give it an empty disk: `--new-disk SIZE`.',
  );
}

function nameOf(argument: string | undefined, option: string | undefined): string | undefined {
  if (argument !== undefined && option !== undefined)
    throw usageError('run', 'The instance has two names: leave out --name or the second argument.');
  return argument ?? option;
}

/** How to get to it: the guest's own addresses, and the way in from here. */
function reachedBy({ name, status }: Instance): string {
  const at = status.addresses === undefined ? '' : ` at ${status.addresses.join(', ')}`;
  const { ssh } = status;
  return ssh === undefined ? at : `${at}; \`wirt ssh ${name}\` (${ssh.host} port ${ssh.port})`;
}

/** What the contract fills in may be left out. */
type CreateInput = CallInput<'POST /v1/instances'>['body'];

export const commands: Commands = { run };
