// What a QEMU binary can do, out of its own answers over QMP. Pure. Nothing follows from the version number: distributions leave
// parts out and bring others back.

/** The questions, one line of QMP each. `quit` ends a QEMU that has no machine and no guest. */
export const probeCommands = [
  { execute: 'qmp_capabilities', id: 'hello' },
  { execute: 'query-version', id: 'version' },
  { execute: 'query-machines', id: 'machines' },
  { execute: 'query-qmp-schema', id: 'schema' },
  { execute: 'qom-list-types', arguments: { abstract: false }, id: 'types' },
  { execute: 'query-command-line-options', id: 'options' },
  { execute: 'device-list-properties', arguments: { typename: 'virtio-blk-pci' }, id: 'disk-properties' },
  { execute: 'quit', id: 'quit' },
] as const;

export interface QemuFacts {
  readonly version: string;
  readonly machines: readonly string[];
  readonly maxCpus: Readonly<Record<string, number>>;
  readonly features: Readonly<Record<string, boolean>>;
}

/** The commands that running a guest takes. */
const neededCommands = [
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

/** Without one of these no guest can be started as Wirt starts guests. */
export const requiredFeatures: readonly string[] = [
  'q35',
  'sandbox',
  'memory-backend',
  'memory-backend-memfd',
  'virtio-serial',
  'virtio-net',
  'qmp-commands',
];

export function missingFeatures({ features }: Pick<QemuFacts, 'features'>): string[] {
  return requiredFeatures.filter((name) => features[name] !== true);
}

interface Machine {
  readonly name: string;
  readonly alias?: string;
  readonly 'cpu-max'?: number;
  /** Since QEMU can take guest memory from a `memory-backend`. */
  readonly 'default-ram-id'?: string;
}
interface SchemaEntry {
  readonly name: string;
  readonly 'meta-type': string;
  readonly values?: readonly string[];
  readonly 'arg-type'?: string;
  readonly members?: readonly { readonly name: string }[];
  readonly variants?: readonly { readonly case: string; readonly type: string }[];
}
interface OptionGroup {
  readonly option: string;
  readonly parameters: readonly { readonly name: string }[];
}

/** Reads QMP's output, a JSON object per line. Throws when an answer is missing or is none. */
export function parseProbe(output: string): QemuFacts {
  const answers = new Map<string, unknown>();
  for (const line of output.split('\n')) {
    if (!line.startsWith('{')) continue;
    const message = JSON.parse(line) as { id?: unknown; return?: unknown };
    if (typeof message.id === 'string' && message.return !== undefined)
      answers.set(message.id, message.return);
  }
  // QEMU is the host's own program and not the guest; a wrong shape is found out by the list check.
  const list = <T>(id: string): readonly T[] => {
    const answer = answers.get(id);
    if (!Array.isArray(answer)) throw new Error(`QEMU did not answer ${id}`);
    return answer as T[];
  };
  const machines = list<Machine>('machines');
  return {
    version: versionOf(answers.get('version')),
    machines: usableMachines(machines).map(([name]) => name),
    maxCpus: Object.fromEntries(
      usableMachines(machines).map(([name, { 'cpu-max': max }]) => [name, max ?? 1]),
    ),
    features: featuresOf({
      machines,
      schema: list<SchemaEntry>('schema'),
      types: new Set(list<{ name: string }>('types').map(({ name }) => name)),
      options: list<OptionGroup>('options'),
      // Refused by one that has no such device.
      diskProperties: answers.has('disk-properties') ? list<{ name: string }>('disk-properties') : [],
    }),
  };
}

function versionOf(answer: unknown): string {
  const { qemu } = (answer ?? {}) as { qemu?: { major: number; minor: number; micro: number } };
  if (qemu === undefined) throw new Error('QEMU did not say its version');
  return `${qemu.major}.${qemu.minor}.${qemu.micro}`;
}

/** Of the machine types that Wirt knows, those in this binary; q35 is an alias of its newest version. */
function usableMachines(machines: readonly Machine[]): [string, Machine][] {
  return ['q35', 'microvm'].flatMap((name) => {
    const machine = machines.find((each) => each.alias === name || each.name === name);
    return machine === undefined ? [] : [[name, machine] satisfies [string, Machine]];
  });
}

function featuresOf(seen: {
  readonly machines: readonly Machine[];
  readonly schema: readonly SchemaEntry[];
  readonly types: ReadonlySet<string>;
  readonly options: readonly OptionGroup[];
  readonly diskProperties: readonly { readonly name: string }[];
}): Record<string, boolean> {
  const commands = new Set(
    seen.schema.filter((entry) => entry['meta-type'] === 'command').map(({ name }) => name),
  );
  /** Whether an enum that has all of `marks` has `value` too. QEMU hides the names of enums, so they are known by content. */
  const inEnum = (marks: readonly string[], value: string): boolean =>
    seen.schema.some(({ values }) => values?.includes(value) && marks.every((mark) => values.includes(mark)));
  const netdevs = netdevsOf(seen.schema);
  const denials = ['obsolete', 'elevateprivileges', 'spawn', 'resourcecontrol'];
  const sandbox = seen.options.find(({ option }) => option === 'sandbox')?.parameters ?? [];
  const usable = new Map(usableMachines(seen.machines));
  return {
    kvm: seen.types.has('kvm-accel'),
    tcg: seen.types.has('tcg-accel'),
    q35: usable.has('q35'),
    microvm: usable.has('microvm'),
    'qmp-commands': neededCommands.every((name) => commands.has(name)),
    sandbox: denials.every((name) => sandbox.some((parameter) => parameter.name === name)),
    'memory-backend': usable.get('q35')?.['default-ram-id'] !== undefined,
    'memory-backend-memfd': seen.types.has('memory-backend-memfd'),
    'virtio-serial': seen.types.has('virtio-serial-pci') && seen.types.has('virtserialport'),
    'virtio-net': seen.types.has('virtio-net-pci'),
    'virtio-blk': seen.types.has('virtio-blk-pci'),
    iothread: seen.types.has('iothread'),
    'iothread-vq-mapping': seen.diskProperties.some(({ name }) => name === 'iothread-vq-mapping'),
    'vhost-vsock': seen.types.has('vhost-vsock-pci'),
    'user-network': inEnum(['tap', 'hubport'], 'user'),
    'tap-network': inEnum(['hubport'], 'tap'),
    // By a Unix socket, which passt serves; and whether QEMU connects again when passt was started anew.
    'stream-network': netdevs.has('stream'),
    'stream-reconnect': netdevs.get('stream')?.has('reconnect') === true,
    'stream-reconnect-ms': netdevs.get('stream')?.has('reconnect-ms') === true,
    'io-uring': inEnum(['threads', 'native'], 'io_uring'),
    vfio: seen.types.has('vfio-pci'),
    'intel-iommu': seen.types.has('intel-iommu'),
    'tpm-emulator': seen.types.has('tpm-emulator'),
    'ignore-shared-migration': inEnum(['postcopy-ram', 'multifd'], 'x-ignore-shared'),
    'mapped-ram-migration': inEnum(['postcopy-ram', 'multifd'], 'mapped-ram'),
  };
}

/** The options of each kind of netdev. */
function netdevsOf(schema: readonly SchemaEntry[]): ReadonlyMap<string, ReadonlySet<string>> {
  const types = new Map(
    schema.filter((entry) => entry['meta-type'] === 'object').map((entry) => [entry.name, entry]),
  );
  const command = schema.find((entry) => entry['meta-type'] === 'command' && entry.name === 'netdev_add');
  const { variants = [] } = types.get(command?.['arg-type'] ?? '') ?? {};
  return new Map(
    variants.map((variant) => [
      variant.case,
      new Set(types.get(variant.type)?.members?.map(({ name }) => name)),
    ]),
  );
}
