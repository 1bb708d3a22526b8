// What a QEMU says when it is probed, cut down to what is read of it; and what it says when it lacks something.

interface Lack {
  readonly withoutTypes?: readonly string[];
  readonly withoutOptions?: readonly string[];
  readonly withoutCommands?: readonly string[];
  readonly withoutMachines?: readonly string[];
  readonly withoutDefaultRamId?: boolean;
  /** Of the stream netdev; by default those of QEMU 7.2. */
  readonly streamOptions?: readonly string[];
  /** Of virtio-blk-pci; by default those of QEMU 7.2. */
  readonly diskProperties?: readonly string[] | 'refused';
}

const types = [
  'kvm-accel',
  'tcg-accel',
  'memory-backend-memfd',
  'virtio-serial-pci',
  'virtserialport',
  'virtio-net-pci',
  'virtio-blk-pci',
  'iothread',
  'vfio-pci',
];
const commands = [
  'qmp_capabilities',
  'query-status',
  'query-uuid',
  'query-chardev',
  'cont',
  'stop',
  'quit',
  'system_powerdown',
  'system_reset',
];
const enums = [
  ['threads', 'native', 'io_uring'],
  ['none', 'user', 'tap', 'hubport'],
  ['postcopy-ram', 'multifd', 'x-ignore-shared'],
];

export function probeOutput(lack: Lack = {}): string {
  const keep =
    (gone: readonly string[] = []) =>
    (name: string): boolean =>
      !gone.includes(name);
  const ram = lack.withoutDefaultRamId === true ? {} : { 'default-ram-id': 'pc.ram' };
  const machines: readonly { name: string; alias?: string; 'cpu-max': number }[] = [
    { name: 'none', 'cpu-max': 1 },
    { name: 'pc-q35-7.1', 'cpu-max': 1, ...ram },
    { name: 'pc-q35-7.2', alias: 'q35', 'cpu-max': 288, ...ram },
    { name: 'microvm', 'cpu-max': 255, ...ram },
  ];
  const sandbox = ['enable', 'obsolete', 'elevateprivileges', 'spawn', 'resourcecontrol'];
  const answers: Record<string, unknown> = {
    hello: {},
    version: { qemu: { major: 7, minor: 2, micro: 22 }, package: 'Debian' },
    machines: machines.filter(({ name, alias }) => keep(lack.withoutMachines)(alias ?? name)),
    schema: [
      ...commands.filter(keep(lack.withoutCommands)).map((name) => ({ name, 'meta-type': 'command' })),
      { name: 'netdev_add', 'meta-type': 'command', 'arg-type': '900' },
      {
        name: '900',
        'meta-type': 'object',
        members: [{ name: 'id', type: 'str' }],
        tag: 'type',
        variants: [
          { case: 'user', type: '901' },
          { case: 'stream', type: '902' },
        ],
      },
      { name: '901', 'meta-type': 'object', members: [{ name: 'hostfwd', type: '903' }] },
      {
        name: '902',
        'meta-type': 'object',
        members: (lack.streamOptions ?? ['addr', 'server']).map((name) => ({ name, type: 'any' })),
      },
      ...enums.map((values, index) => ({ name: String(index), 'meta-type': 'enum', values })),
    ],
    types: types.filter(keep(lack.withoutTypes)).map((name) => ({ name })),
    options: ['machine', 'sandbox']
      .filter(keep(lack.withoutOptions))
      .map((option) => ({ option, parameters: sandbox.map((name) => ({ name })) })),
    ...(lack.diskProperties === 'refused'
      ? {}
      : { 'disk-properties': (lack.diskProperties ?? ['iothread', 'num-queues']).map((name) => ({ name })) }),
    quit: {},
  };
  const lines = Object.entries(answers).map(([id, answer]) => JSON.stringify({ return: answer, id }));
  return ['{"QMP": {"version": {}}}', ...lines, '{"event": "SHUTDOWN"}', ''].join('\n');
}
