/** Every command with its one-line summary, and how to load it: the only thing about the others that a command loads. */
import type { Entry } from './command.ts';

const instance = () => import('./commands/instance.ts');
const run = () => import('./commands/instance-run.ts');
const life = () => import('./commands/instance-life.ts');
const guest = () => import('./commands/guest.ts');
const guestConsole = () => import('./commands/guest-console.ts');
const ssh = () => import('./commands/ssh.ts');
const image = () => import('./commands/image.ts');
const imageTransfer = () => import('./commands/image-transfer.ts');
const volume = () => import('./commands/volume.ts');
const disk = () => import('./commands/disk.ts');
const diskMedia = () => import('./commands/disk-media.ts');
const pool = () => import('./commands/pool.ts');
const snapshot = () => import('./commands/snapshot.ts');
const network = () => import('./commands/network.ts');
const networkTrace = () => import('./commands/network-trace.ts');
const nic = () => import('./commands/nic.ts');
const securityGroup = () => import('./commands/security-group.ts');
const set = () => import('./commands/instance-set.ts');
const policy = () => import('./commands/policy.ts');
const usage = () => import('./commands/usage.ts');
const transfer = () => import('./commands/transfer.ts');
const host = () => import('./commands/host.ts');
const device = () => import('./commands/device.ts');
const hostCpu = () => import('./commands/host-cpu.ts');
const hostCapacity = () => import('./commands/host-capacity.ts');
const operation = () => import('./commands/operation.ts');
const event = () => import('./commands/event.ts');
const completion = () => import('./commands/completion.ts');

export const catalogue: readonly Entry[] = [
  {
    name: 'run',
    group: 'Instances',
    summary: 'Create an instance from an image or disks, and start it',
    load: run,
  },
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
  {
    name: 'ssh',
    group: 'Inside a guest',
    summary: 'Log in to a guest by SSH, its host key known',
    load: ssh,
  },

  { name: 'image ls', group: 'Images', summary: 'List images', load: image },
  { name: 'image show', group: 'Images', summary: 'Show an image', load: image },
  { name: 'image build', group: 'Images', summary: 'Build an image by a recipe', load: image },
  {
    name: 'image import',
    group: 'Images',
    summary: 'Make an image of a disk or ISO file, or of an address',
    load: imageTransfer,
  },
  { name: 'image pull', group: 'Images', summary: 'Fetch an image from a catalogue', load: imageTransfer },
  { name: 'image export', group: 'Images', summary: 'Write an image into a disk file', load: imageTransfer },
  { name: 'image rm', group: 'Images', summary: 'Remove images that nothing uses', load: image },

  { name: 'volume ls', group: 'Disks', summary: 'List volumes, and where they are attached', load: volume },
  { name: 'volume show', group: 'Disks', summary: 'Show a volume and its layers', load: volume },
  { name: 'volume create', group: 'Disks', summary: 'Create a volume, empty or with content', load: volume },
  { name: 'volume clone', group: 'Disks', summary: 'Clone a volume, linked or in full', load: volume },
  {
    name: 'volume resize',
    group: 'Disks',
    summary: 'Grow a volume, also under a running guest',
    load: volume,
  },
  { name: 'volume attach', group: 'Disks', summary: 'Attach a volume to an instance', load: disk },
  { name: 'volume detach', group: 'Disks', summary: 'Detach a disk from its instance', load: disk },
  { name: 'volume rename', group: 'Disks', summary: 'Give a volume another name', load: volume },
  { name: 'volume flatten', group: 'Disks', summary: 'Make a volume stand alone', load: volume },
  { name: 'volume export', group: 'Disks', summary: 'Write a volume into a disk file', load: volume },
  { name: 'volume rm', group: 'Disks', summary: 'Remove volumes that nothing uses', load: volume },
  { name: 'media insert', group: 'Disks', summary: 'Put an ISO image into a CD drive', load: diskMedia },
  { name: 'media eject', group: 'Disks', summary: 'Empty a CD drive', load: diskMedia },
  { name: 'pool ls', group: 'Disks', summary: 'List pools, what they hold and what is free', load: pool },
  { name: 'pool show', group: 'Disks', summary: 'Show a pool', load: pool },
  { name: 'pool create', group: 'Disks', summary: 'Make a directory a pool for volumes', load: pool },
  { name: 'pool rm', group: 'Disks', summary: 'Give up pools that have no volumes', load: pool },

  {
    name: 'snapshot create',
    group: 'Snapshots',
    summary: 'Take a snapshot of all disks of an instance at one moment',
    load: snapshot,
  },
  { name: 'snapshot ls', group: 'Snapshots', summary: 'List snapshots as a tree', load: snapshot },
  { name: 'snapshot show', group: 'Snapshots', summary: 'Show a snapshot', load: snapshot },
  {
    name: 'snapshot restore',
    group: 'Snapshots',
    summary: 'Put the disks of a stopped instance back to a snapshot',
    load: snapshot,
  },
  {
    name: 'snapshot rm',
    group: 'Snapshots',
    summary: 'Remove snapshots, also while the guest runs',
    load: snapshot,
  },
  {
    name: 'snapshot export',
    group: 'Snapshots',
    summary: 'Write the disks of a snapshot into files',
    load: snapshot,
  },

  { name: 'network ls', group: 'Networks', summary: 'List networks', load: network },
  {
    name: 'network show',
    group: 'Networks',
    summary: 'Draw who is on a network, with addresses, leases, rules and counters',
    load: network,
  },
  { name: 'network create', group: 'Networks', summary: 'Create a network', load: network },
  { name: 'network rm', group: 'Networks', summary: 'Remove networks that nobody is on', load: network },
  { name: 'network attach', group: 'Networks', summary: 'Give an instance a card on a network', load: nic },
  { name: 'network detach', group: 'Networks', summary: 'Take a network card away', load: nic },
  {
    name: 'network publish',
    group: 'Networks',
    summary: 'Let ports of the host lead into a guest',
    load: nic,
  },
  { name: 'network unpublish', group: 'Networks', summary: 'Take published ports back', load: nic },
  {
    name: 'network float',
    group: 'Networks',
    summary: 'Let an address of the host’s network stand for a card',
    load: nic,
  },
  { name: 'network groups', group: 'Networks', summary: 'Set the security groups of a card', load: nic },
  {
    name: 'network trace',
    group: 'Networks',
    summary: 'Say which rule lets a connection pass or drops it',
    load: networkTrace,
  },
  { name: 'security-group ls', group: 'Networks', summary: 'List security groups', load: securityGroup },
  {
    name: 'security-group show',
    group: 'Networks',
    summary: 'Show a security group and its rules',
    load: securityGroup,
  },
  {
    name: 'security-group create',
    group: 'Networks',
    summary: 'Create a security group',
    load: securityGroup,
  },
  {
    name: 'security-group allow',
    group: 'Networks',
    summary: 'Allow traffic to or from a group’s cards',
    load: securityGroup,
  },
  { name: 'security-group revoke', group: 'Networks', summary: 'Allow it no more', load: securityGroup },
  {
    name: 'security-group rm',
    group: 'Networks',
    summary: 'Remove security groups that nothing uses',
    load: securityGroup,
  },

  {
    name: 'set',
    group: 'Limits',
    summary: 'Change an instance, live where that can be: limits, size, policy, labels',
    load: set,
  },
  { name: 'top', group: 'Limits', summary: 'Show what guests use beside their limits, live', load: usage },
  { name: 'policy ls', group: 'Limits', summary: 'List policies', load: policy },
  {
    name: 'policy show',
    group: 'Limits',
    summary: 'Show the limits of a policy, and who has it',
    load: policy,
  },
  {
    name: 'policy create',
    group: 'Limits',
    summary: 'Create a policy: limits that instances share',
    load: policy,
  },
  {
    name: 'policy set',
    group: 'Limits',
    summary: 'Change a policy, and with it the instances that have it',
    load: policy,
  },
  { name: 'policy rm', group: 'Limits', summary: 'Remove policies that no instance has', load: policy },

  {
    name: 'import',
    group: 'Moving in and out',
    summary: 'Make an instance of an OVA, OVF, libvirt XML, xl.cfg or bare disk',
    load: transfer,
  },
  {
    name: 'export',
    group: 'Moving in and out',
    summary: 'Write an instance into an OVA, libvirt XML or disk files',
    load: transfer,
  },

  { name: 'host', group: 'Host', summary: 'Show what this machine is and can do', load: host },
  {
    name: 'host check',
    group: 'Host',
    summary: 'Compare this machine with best practice, and say what to do',
    load: host,
  },
  {
    name: 'host capacity',
    group: 'Host',
    summary: 'Show what of this machine is promised to guests, and what is left',
    load: hostCapacity,
  },
  {
    name: 'host topology',
    group: 'Host',
    summary: 'Show nodes and processors, and who is placed on them',
    load: hostCapacity,
  },
  {
    name: 'host cpu',
    group: 'Host',
    summary: 'Show processors that guests can have on this machine',
    load: hostCpu,
  },
  {
    name: 'host cpu-baseline',
    group: 'Host',
    summary: 'Compute the processor that guests can have on several machines',
    load: hostCpu,
  },
  {
    name: 'host settings',
    group: 'Host',
    summary: 'Show how much more than there is may be promised',
    load: hostCapacity,
  },
  {
    name: 'host set',
    group: 'Host',
    summary: 'Change how much may be promised; guests that run stay',
    load: hostCapacity,
  },
  {
    name: 'host device ls',
    group: 'Host',
    summary: 'List PCI devices, and which of them guests could have',
    load: device,
  },
  {
    name: 'host device show',
    group: 'Host',
    summary: 'Show a PCI device: its group, its functions, who has it',
    load: device,
  },
  {
    name: 'host device create-vfs',
    group: 'Host',
    summary: 'Split a device into virtual functions for a pool',
    load: device,
  },
  {
    name: 'host device remove-vfs',
    group: 'Host',
    summary: 'Take away the virtual functions of a device',
    load: device,
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
  shell: 'exec',
  images: 'image ls',
  build: 'image build',
  pull: 'image pull',
  disk: 'volume',
  disks: 'volume ls',
  volumes: 'volume ls',
  storage: 'pool',
  pools: 'pool ls',
  cdrom: 'media',
  iso: 'media',
  eject: 'media eject',
  clone: 'volume clone',
  resize: 'volume resize',
  snapshots: 'snapshot ls',
  restore: 'snapshot restore',
  rollback: 'snapshot restore',
  revert: 'snapshot restore',
  networks: 'network ls',
  net: 'network',
  nic: 'network attach',
  nics: 'network attach',
  publish: 'network publish',
  trace: 'network trace',
  sg: 'security-group',
  firewall: 'security-group',
  rule: 'security-group allow',
  limit: 'set',
  limits: 'set',
  update: 'set',
  qos: 'policy',
  policies: 'policy ls',
  stats: 'top',
  usage: 'top',
  convert: 'import',
  v2v: 'import',
  operations: 'operation ls',
  check: 'host check',
  devices: 'host device ls',
  pci: 'host device ls',
  gpu: 'host device ls',
  sriov: 'host device create-vfs',
  passthrough: 'host device ls',
  capacity: 'host capacity',
  topology: 'host topology',
  numa: 'host topology',
  overcommit: 'host set',
  tuning: 'show',
};

export function otherWordFor(word: string): string | undefined {
  return Object.hasOwn(otherWords, word) ? otherWords[word] : undefined;
}
