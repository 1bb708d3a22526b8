/** Every command with its one-line summary, and how to load it: the only thing about the others that a command loads. */
import type { Entry } from './command.ts';

const instance = () => import('./commands/instance.ts');
const run = () => import('./commands/instance-run.ts');
const life = () => import('./commands/instance-life.ts');
const guest = () => import('./commands/guest.ts');
const guestConsole = () => import('./commands/guest-console.ts');
const image = () => import('./commands/image.ts');
const host = () => import('./commands/host.ts');
const operation = () => import('./commands/operation.ts');
const event = () => import('./commands/event.ts');
const completion = () => import('./commands/completion.ts');

export const catalogue: readonly Entry[] = [
  { name: 'run', group: 'Instances', summary: 'Create an instance from an image and start it', load: run },
  { name: 'ls', group: 'Instances', summary: 'List instances', load: instance },
  {
    name: 'show',
    group: 'Instances',
    summary: 'Show an instance, how it ended, and what can be done',
    load: instance,
  },
  { name: 'start', group: 'Instances', summary: 'Start guests', load: life },
  { name: 'stop', group: 'Instances', summary: 'Stop guests: by ACPI, then by force', load: life },
  { name: 'restart', group: 'Instances', summary: 'Stop guests and start them in a new QEMU', load: life },
  { name: 'reset', group: 'Instances', summary: 'Push the reset button of guests', load: life },
  { name: 'pause', group: 'Instances', summary: 'Stop the processors of guests', load: life },
  { name: 'resume', group: 'Instances', summary: 'Let the processors of paused guests run', load: life },
  { name: 'rename', group: 'Instances', summary: 'Give an instance another name', load: instance },
  { name: 'rm', group: 'Instances', summary: 'Remove instances and everything made for them', load: life },

  {
    name: 'console',
    group: 'Inside a guest',
    summary: 'Use the serial console of a guest',
    load: guestConsole,
  },
  { name: 'logs', group: 'Inside a guest', summary: 'Print what a guest wrote to its console', load: guest },
  { name: 'exec', group: 'Inside a guest', summary: 'Run a program in a guest', load: guest },
  { name: 'cp', group: 'Inside a guest', summary: 'Copy a file to or from a guest', load: guest },

  { name: 'image ls', group: 'Images', summary: 'List images', load: image },
  { name: 'image show', group: 'Images', summary: 'Show an image', load: image },
  { name: 'image build', group: 'Images', summary: 'Build an image by a recipe', load: image },
  { name: 'image rm', group: 'Images', summary: 'Remove images that no instance uses', load: image },

  { name: 'host', group: 'Host', summary: 'Show what this machine is and can do', load: host },
  {
    name: 'host check',
    group: 'Host',
    summary: 'Compare this machine with best practice, and say what to do',
    load: host,
  },

  { name: 'operation ls', group: 'Work', summary: 'List operations', load: operation },
  { name: 'operation show', group: 'Work', summary: 'Show an operation', load: operation },
  {
    name: 'operation cancel',
    group: 'Work',
    summary: 'Cancel operations; what they have done is undone',
    load: operation,
  },
  { name: 'events', group: 'Work', summary: 'Print every change as it happens', load: event },

  { name: 'version', group: 'This command', summary: 'Show the versions of wirt and wirtd', load: host },
  {
    name: 'completion',
    group: 'This command',
    summary: 'Print the completion script of a shell',
    load: completion,
  },
  {
    name: 'complete',
    group: 'This command',
    summary: 'Answer a completion script',
    load: completion,
    hidden: true,
  },
];

/** What other tools call our commands: for “did you mean” only. */
const otherWords: Readonly<Record<string, string>> = {
  list: 'ls',
  ps: 'ls',
  create: 'run',
  launch: 'run',
  info: 'show',
  inspect: 'show',
  delete: 'rm',
  remove: 'rm',
  destroy: 'rm',
  kill: 'stop',
  shutdown: 'stop',
  reboot: 'restart',
  suspend: 'pause',
  attach: 'console',
  ssh: 'exec',
  shell: 'exec',
  images: 'image ls',
  build: 'image build',
  operations: 'operation ls',
  check: 'host check',
};

export function otherWordFor(word: string): string | undefined {
  return Object.hasOwn(otherWords, word) ? otherWords[word] : undefined;
}
