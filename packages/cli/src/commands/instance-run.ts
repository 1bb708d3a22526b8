/** `wirt run`: creates an instance from an image and starts it. */
import type { CallInput } from '@wirt/api/client';
import { type Commands, type Context, command } from '../command.ts';
import { idempotent } from '../context.ts';
import { usageError } from '../parse.ts';
import { actedOn, followInstance, type Waiting, waitOptions } from './instance-life.ts';
import { actedView } from './instance-view.ts';

/** As in the contract, whose schemas are not loaded here. The daemon checks again. */
const maxCpus = 4096;

const options = {
  cpus: {
    kind: 'integer',
    value: 'N',
    min: 1,
    max: maxCpus,
    short: 'c',
    summary: 'Virtual CPUs (default 1)',
  },
  memory: { kind: 'mib', value: 'SIZE', short: 'm', summary: 'Memory, such as 512M or 2G (default 256M)' },
  label: { kind: 'pair', value: 'KEY=VALUE', short: 'l', many: true, summary: 'A label' },
  restart: {
    kind: 'choice',
    choices: ['never', 'on-failure', 'always'],
    summary: 'What to do when the guest ends by itself (default never)',
  },
  autostart: { kind: 'flag', summary: 'Start it once after each boot of the host' },
  overcommit: { kind: 'flag', summary: 'Start although the host has less memory free' },
  machine: { kind: 'choice', choices: ['q35', 'microvm'], summary: 'QEMU machine type (default q35)' },
  accel: { kind: 'choice', choices: ['auto', 'kvm', 'tcg'], summary: 'Accelerator (default auto)' },
  cpu: { kind: 'text', value: 'MODEL', summary: 'QEMU CPU model (default host under KVM, max under TCG)' },
  nic: { kind: 'choice', choices: ['user', 'none'], many: true, summary: 'Network card (default user)' },
  paused: { kind: 'flag', summary: 'Leave the processors stopped' },
  console: { kind: 'flag', summary: 'Attach to its serial console' },
  ...waitOptions,
} as const;

const run = command({
  arguments: {
    image: { summary: 'Name of the image', complete: 'image' },
    name: { summary: 'Name of the instance; made up when left out', optional: true },
  },
  options,
  examples: [
    { line: 'wirt run micro demo', does: 'A guest with one processor and 256 MiB.' },
    {
      line: 'wirt run micro web-1 --cpus 4 --memory 2G --label tier=web --wait ready',
      does: 'Returns when its agent answers.',
    },
    { line: 'wirt run micro --console', does: 'Watch it boot.' },
  ],
  async run(context, { args, options: given }) {
    if (given.paused && given.wait === 'ready')
      throw usageError('run', 'A paused guest does not get ready: leave out --paused or --wait ready.');
    const { cpus, memory, restart, machine, accel, cpu, nic } = given;
    if (nic.includes('none') && nic.length > 1)
      throw usageError('run', '--nic none excludes every other --nic.');
    const body: CreateInput = {
      ...(args.name === undefined ? {} : { name: args.name }),
      labels: Object.fromEntries(given.label),
      spec: {
        image: args.image,
        ...(cpus === undefined ? {} : { cpus }),
        ...(memory === undefined ? {} : { memoryMib: memory }),
        ...(restart === undefined ? {} : { restart }),
        ...(machine === undefined ? {} : { machine }),
        ...(accel === undefined ? {} : { accelerator: accel }),
        ...(cpu === undefined ? {} : { cpuModel: cpu }),
        ...(nic.length === 0
          ? {}
          : { nics: nic.filter((type) => type !== 'none').map((type) => ({ type })) }),
        autostart: given.autostart,
        overcommit: given.overcommit,
      },
      start: true,
      startPaused: given.paused,
    };
    const operation = await create(context, body);
    const waiting: Waiting = {
      // A console is there when QEMU runs, and whoever attaches wants to see the boot.
      until: given.console ? 'done' : given.wait === 'running' ? 'done' : given.wait,
      timeoutSeconds: given.timeout,
      silent: false,
    };
    const acted = actedOn(operation, await followInstance(context, operation, waiting), waiting);
    if (!given.console) return { view: { ...actedView([acted]), data: acted.record } };
    const { attachConsole, consoleDefaults } = await import('./guest-console.ts');
    return { exitCode: await attachConsole(context, operation.target.name, consoleDefaults) };
  },
});

function create(context: Context, body: CreateInput) {
  return context.client.call('POST /v1/instances', { body, ...idempotent() });
}

/** What the contract fills in may be left out. */
type CreateInput = CallInput<'POST /v1/instances'>['body'];

export const commands: Commands = { run };
