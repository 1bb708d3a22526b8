/**
 * Writes packages/qemu/src/qmp/schema.gen.ts: types of the QMP commands and events listed below, from what a real
 * QEMU (and saved answers of others) says to query-qmp-schema. What only some have becomes optional.
 *   node tools/generate-qmp-types.ts [--qemu qemu-system-x86_64] [--schema SAVED-RETURN.json]...
 */

import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

// QEMU gives types no names in that answer, so they are written in place, under the command's name.
const COMMANDS = [
  'balloon',
  'block-stream',
  'block_resize',
  'block_set_io_throttle',
  'blockdev-add',
  'blockdev-close-tray',
  'blockdev-del',
  'blockdev-insert-medium',
  'blockdev-open-tray',
  'blockdev-remove-medium',
  'blockdev-reopen',
  'cont',
  'device-list-properties',
  'device_add',
  'device_del',
  'eject',
  'inject-nmi',
  'job-cancel',
  'job-dismiss',
  'netdev_add',
  'netdev_del',
  'object-add',
  'object-del',
  'qmp_capabilities',
  'qom-get',
  'qom-list',
  'qom-list-types',
  'qom-set',
  'query-balloon',
  'query-block',
  'query-block-jobs',
  'query-blockstats',
  'query-chardev',
  'query-command-line-options',
  'query-commands',
  'query-cpu-definitions',
  'query-cpus-fast',
  'query-current-machine',
  'query-hotpluggable-cpus',
  'query-iothreads',
  'query-jobs',
  'query-kvm',
  'query-machines',
  'query-memory-devices',
  'query-memory-size-summary',
  'query-name',
  'query-named-block-nodes',
  'query-qmp-schema',
  'query-status',
  'query-target',
  'query-uuid',
  'query-version',
  'quit',
  'screendump',
  'set_link',
  'stop',
  'system_powerdown',
  'system_reset',
  'system_wakeup',
  'transaction',
];

// Of the kinds that a command knows by its tag, the ones in use: QEMU has some fifty block drivers.
const VARIANTS: Record<string, readonly string[]> = {
  'blockdev-add': ['file', 'host_device', 'qcow2', 'raw', 'throttle'],
  'blockdev-reopen': ['qcow2', 'throttle'],
  netdev_add: ['stream', 'tap', 'user'],
  'object-add': ['iothread', 'throttle-group'],
  transaction: ['blockdev-snapshot'],
};

// What QEMU takes beyond its schema, in whatever types: the properties of a device.
const OPEN = ['device_add'];

const EVENTS = [
  'BALLOON_CHANGE',
  'BLOCK_IO_ERROR',
  'BLOCK_JOB_CANCELLED',
  'BLOCK_JOB_COMPLETED',
  'BLOCK_JOB_ERROR',
  'DEVICE_DELETED',
  'DEVICE_TRAY_MOVED',
  'DEVICE_UNPLUG_GUEST_ERROR',
  'GUEST_CRASHLOADED',
  'GUEST_PANICKED',
  'JOB_STATUS_CHANGE',
  'MEMORY_DEVICE_SIZE_CHANGE',
  'MEMORY_FAILURE',
  'NIC_RX_FILTER_CHANGED',
  'POWERDOWN',
  'RESET',
  'RESUME',
  'RTC_CHANGE',
  'SHUTDOWN',
  'STOP',
  'SUSPEND',
  'SUSPEND_DISK',
  'VSERPORT_CHANGE',
  'WAKEUP',
  'WATCHDOG',
];

interface Entity {
  name: string;
  'meta-type': string;
  'arg-type'?: string;
  'ret-type'?: string;
  'element-type'?: string;
  'json-type'?: string;
  members?: { name: string; type: string; default?: unknown }[];
  values?: string[];
  tag?: string;
  variants?: { case: string; type: string }[];
}

type Shape =
  | { kind: 'primitive'; type: string }
  /** A type within itself. */
  | { kind: 'recursive' }
  | { kind: 'enum'; values: Set<string> }
  | { kind: 'array'; of: Shape }
  | { kind: 'alternate'; of: Shape[] }
  | { kind: 'object'; members: Map<string, Member>; tag: string | undefined; variants: Map<string, Shape> };

interface Member {
  shape: Shape;
  optional: boolean;
}

const NOTHING: Shape = { kind: 'object', members: new Map(), tag: undefined, variants: new Map() };

const PRIMITIVES: Record<string, string> = {
  string: 'string',
  int: 'number',
  number: 'number',
  boolean: 'boolean',
  null: 'null',
  value: 'unknown',
};

/** Reads the type `name` with everything below it, once: within itself it is whatever it is. */
function readShape(
  schema: Map<string, Entity>,
  name: string,
  kept: readonly string[] | undefined,
  above: string[] = [],
): Shape {
  const entity = schema.get(name);
  if (!entity) throw new Error(`the schema has no type ${name}`);
  if (above.includes(name)) return { kind: 'recursive' };
  const read = (type: string): Shape => readShape(schema, type, kept, [...above, name]);
  const isCut = (entity.variants ?? []).some((variant) => kept?.includes(variant.case));
  const isKept = (value: string): boolean => !isCut || kept?.includes(value) === true;
  switch (entity['meta-type']) {
    case 'builtin':
      return { kind: 'primitive', type: PRIMITIVES[entity['json-type'] ?? ''] ?? 'unknown' };
    case 'enum':
      return { kind: 'enum', values: new Set(entity.values) };
    case 'array':
      return { kind: 'array', of: read(entity['element-type'] ?? '') };
    case 'alternate':
      return { kind: 'alternate', of: (entity.members ?? []).map((member) => read(member.type)) };
    case 'object':
      return {
        kind: 'object',
        members: new Map(
          (entity.members ?? []).map((member) => {
            const shape = read(member.type);
            if (member.name === entity.tag && shape.kind === 'enum')
              shape.values = new Set([...shape.values].filter(isKept));
            return [member.name, { shape, optional: Object.hasOwn(member, 'default') }];
          }),
        ),
        tag: entity.tag,
        variants: new Map(
          (entity.variants ?? [])
            .filter((variant) => isKept(variant.case))
            .map((variant) => [variant.case, read(variant.type)]),
        ),
      };
    default:
      throw new Error(`unknown meta-type ${entity['meta-type']}`);
  }
}

function merge(a: Shape, b: Shape): Shape {
  if (a.kind === 'enum' && b.kind === 'enum') return { kind: 'enum', values: a.values.union(b.values) };
  if (a.kind === 'array' && b.kind === 'array') return { kind: 'array', of: merge(a.of, b.of) };
  if (a.kind === 'object' && b.kind === 'object') {
    return {
      kind: 'object',
      members: mergeMembers(a.members, b.members),
      tag: a.tag ?? b.tag,
      variants: mergeVariants(a.variants, b.variants),
    };
  }
  if (a.kind === 'recursive' && b.kind === 'recursive') return a;
  if (a.kind === 'primitive' && b.kind === 'primitive' && a.type === b.type) return a;
  return { kind: 'alternate', of: [a, b] };
}

function mergeMembers(a: Map<string, Member>, b: Map<string, Member>): Map<string, Member> {
  const merged = new Map<string, Member>();
  for (const [name, x] of [...a, ...b]) {
    const y = a.has(name) ? b.get(name) : undefined;
    if (merged.has(name)) continue;
    if (y) merged.set(name, { shape: merge(x.shape, y.shape), optional: x.optional || y.optional });
    else merged.set(name, { shape: x.shape, optional: true });
  }
  return merged;
}

function mergeVariants(a: Map<string, Shape>, b: Map<string, Shape>): Map<string, Shape> {
  const merged = new Map(a);
  for (const [name, shape] of b) merged.set(name, merge(a.get(name) ?? shape, shape));
  return merged;
}

function print(shape: Shape): string {
  switch (shape.kind) {
    case 'primitive':
      return shape.type;
    case 'recursive':
      return 'Record<string, unknown>';
    case 'enum':
      return [...shape.values].map(quote).join(' | ');
    case 'array':
      return `readonly (${print(shape.of)})[]`;
    case 'alternate':
      return [...new Set(shape.of.map(print))].map((text) => `(${text})`).join(' | ');
    case 'object':
      return printObject(shape);
  }
}

function printObject({ members, tag, variants }: Extract<Shape, { kind: 'object' }>): string {
  const tagMember = tag === undefined ? undefined : members.get(tag);
  const plain = [...members].filter(([name]) => name !== tag || !hasVariants(variants));
  const base = printMembers(plain);
  if (tag === undefined || !hasVariants(variants) || tagMember?.shape.kind !== 'enum') return base;
  const rest = [...tagMember.shape.values].filter((value) => isEmpty(variants.get(value)));
  const cases = [...variants].filter(([, shape]) => !isEmpty(shape));
  const branches = cases.map(([name, shape]) => `({ ${quote(tag)}: ${quote(name)} } & ${print(shape)})`);
  if (rest.length > 0) branches.push(`{ ${quote(tag)}: ${rest.map(quote).join(' | ')} }`);
  return `${base} & (${branches.join(' | ')})`;
}

function printMembers(members: [string, Member][]): string {
  if (members.length === 0) return '{}';
  const lines = members.map(
    ([name, { shape, optional }]) => `${quote(name)}${optional ? '?' : ''}: ${print(shape)};`,
  );
  return `{ ${lines.join('\n')} }`;
}

const isEmpty = (shape: Shape | undefined): boolean =>
  !shape || (shape.kind === 'object' && shape.members.size === 0 && shape.variants.size === 0);
const hasVariants = (variants: Map<string, Shape>): boolean =>
  [...variants.values()].some((shape) => !isEmpty(shape));
const quote = (text: string): string => `'${text}'`;

/** Every member as a path for `indexSchema`; a `?` at the end marks what may be missing. */
function paths(prefix: string, shape: Shape, optional = false): string[] {
  switch (shape.kind) {
    case 'primitive':
    case 'recursive':
    case 'enum':
      return [];
    case 'array':
      return paths(prefix, shape.of, optional);
    case 'alternate':
      return shape.of.flatMap((one) => paths(prefix, one, optional));
    case 'object':
      return [
        ...[...shape.members].flatMap(([name, member]) => {
          const maybe = optional || member.optional;
          const path = `${prefix}/${name}`;
          return [maybe ? `${path}?` : path, ...paths(path, member.shape, maybe)];
        }),
        ...[...shape.variants.values()].flatMap((variant) => paths(prefix, variant, true)),
      ];
  }
}

interface Merged {
  commands: Map<string, { arguments: Shape; returns: Shape }>;
  events: Map<string, Shape>;
}

function mergeSchemas(schemas: Map<string, Entity>[]): Merged {
  const read = (name: string, part: 'arg-type' | 'ret-type'): Shape => {
    const shapes = schemas.flatMap((schema) => {
      const entity = schema.get(name);
      if (!entity) return [];
      return [entity[part] === undefined ? NOTHING : readShape(schema, entity[part], VARIANTS[name])];
    });
    if (shapes.length === 0) throw new Error(`no schema has ${name}`);
    return shapes.reduce(merge);
  };
  return {
    commands: new Map(
      COMMANDS.map((name) => [name, { arguments: read(name, 'arg-type'), returns: read(name, 'ret-type') }]),
    ),
    events: new Map(EVENTS.map((name) => [name, read(name, 'arg-type')])),
  };
}

function render({ commands, events }: Merged): string {
  const members = [
    ...[...commands].flatMap(([name, command]) => [
      name,
      ...paths(`${name}/arguments`, command.arguments),
      ...paths(`${name}/returns`, command.returns),
    ]),
    ...[...events].flatMap(([name, data]) => [name, ...paths(`${name}/data`, data)]),
  ];
  return [
    '/**',
    ' * Generated by tools/generate-qmp-types.ts from the schemas of several QEMU versions; do not edit. What is optional',
    ' * here is optional in QEMU or missing from some versions. Newer versions may add members and values.',
    ' */',
    '',
    'export interface QmpCommands {',
    ...[...commands].map(
      ([name, c]) =>
        `${quote(name)}: { arguments: ${print(c.arguments)}${OPEN.includes(name) ? ' & Record<string, unknown>' : ''}; returns: ${print(c.returns)} };`,
    ),
    '}',
    '',
    'export interface QmpEvents {',
    ...[...events].map(([name, data]) => `${quote(name)}: ${print(data)};`),
    '}',
    '',
    `export const qmpEventNames = [${[...events.keys()].map(quote).join(', ')}] as const satisfies readonly (keyof QmpEvents)[];`,
    '',
    '/** Everything named above, as paths for `indexSchema`; a `?` at the end marks what a QEMU may lack. */',
    `export const qmpMembersInUse: readonly string[] = [${[...new Set(members)].map(quote).join(', ')}];`,
    '',
  ].join('\n');
}

function askQemu(binary: string): Entity[] {
  const args = [
    '-S',
    '-nodefaults',
    '-no-user-config',
    '-display',
    'none',
    '-machine',
    'none',
    '-qmp',
    'stdio',
  ];
  const input = ['qmp_capabilities', 'query-qmp-schema', 'quit'].map((execute) =>
    JSON.stringify({ execute }),
  );
  const output = execFileSync(binary, args, {
    input: `${input.join('\n')}\n`,
    encoding: 'utf8',
    timeout: 30_000,
    maxBuffer: 64 * 1024 * 1024,
  });
  for (const line of output.split('\n')) {
    const message = line.trim() === '' ? {} : JSON.parse(line);
    if (Array.isArray(message.return)) return message.return;
  }
  throw new Error(`${binary} did not answer query-qmp-schema`);
}

const { values } = parseArgs({
  options: {
    qemu: { type: 'string', default: 'qemu-system-x86_64' },
    schema: { type: 'string', multiple: true, default: [] },
  },
});
const schemas = [
  askQemu(values.qemu),
  ...values.schema.map((file): Entity[] => JSON.parse(readFileSync(file, 'utf8'))),
].map((entities) => new Map(entities.map((entity) => [entity.name, entity])));
const target = fileURLToPath(new URL('../packages/qemu/src/qmp/schema.gen.ts', import.meta.url));
writeFileSync(target, render(mergeSchemas(schemas)));
spawnSync('npx', ['biome', 'format', '--write', target], { stdio: 'inherit' });
