import { readFileSync } from 'node:fs';
import { instanceUpdateSchema, policyUpdateSchema, tuningPatchSchema, tuningSchema } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { findKey, isShared, type KeySpec, keyAliases, keySpecs, unitTexts } from './limit-keys.ts';
import { devicesAfter, limitsPatchOf, pinsAfter, readAssignments, updateOf } from './limit-patch.ts';

const words = { command: 'set', for: 'instance' } as const;

/** A key and a value that it takes, with names where they stand. */
function setting({ key, unit }: KeySpec, value?: string): string {
  const examples: Partial<Record<KeySpec['unit'], string>> = { text: 'other', weight: '300' };
  const example = examples[unit] ?? unitTexts[unit].split(', ')[0] ?? '';
  const name = unit === 'optional-text' ? 'gold' : example;
  return `${key.replace('NAME', 'root').replace('NIC', 'nic0').replace('KEY', 'a.b/c').replace('VCPU', '3')}=${value ?? name}`;
}

describe('the keys', () => {
  it.each(keySpecs.map((spec) => [spec.key, spec] as const))(
    '%s goes where the contract has it',
    (_, spec) => {
      const assignments = readAssignments([setting(spec)], words);
      const update = updateOf(assignments);
      expect(instanceUpdateSchema.parse(update)).toEqual(update);
      if (!['label', 'pin', 'device'].includes(spec.place.in)) expect(update).not.toEqual({});
      if (isShared(spec)) {
        const limits = limitsPatchOf(assignments);
        expect(policyUpdateSchema.parse({ limits })).toEqual({ limits });
      }
    },
  );

  it('can all be taken out, but for those that always have a value', () => {
    const fixed = ['cpus', 'memory', 'restart', 'autostart', 'vsock', 'name'];
    for (const spec of keySpecs) {
      const taken = () => readAssignments([setting(spec, '')], words);
      if (fixed.includes(spec.key)) expect(taken, spec.key).toThrow('always has a value');
      else expect(instanceUpdateSchema.safeParse(updateOf(taken())).success, spec.key).toBe(true);
    }
  });

  it('cover every field of the tuning', () => {
    const paths = keySpecs.flatMap(({ place }) =>
      place.in === 'tuning' ? place.path : place.in === 'pin' ? ['vcpuPins'] : [],
    );
    expect(paths.toSorted()).toEqual(Object.keys(tuningSchema.shape).toSorted());
  });

  it('pin single vCPUs beside those that are pinned, and take them out', () => {
    const pins = (...texts: string[]) => pinsAfter(readAssignments(texts, words), { 0: '2', 1: '3' });
    expect(pins('pin.1=4-5', 'pin.07=6')).toEqual({ 0: '2', 1: '4-5', 7: '6' });
    expect(pins('pin.0=')).toEqual({ 1: '3' });
    expect(pins('pin.0=', 'pin.1=')).toBeNull();
    expect(pins('pin.emulator=0')).toBeUndefined();
    for (const update of [pins('pin.1=4-5'), pins('pin.0=', 'pin.1=')])
      expect(tuningPatchSchema.safeParse({ vcpuPins: update }).success).toBe(true);
  });

  it('name devices beside those that are there, change them in their place, and take them out', () => {
    const before = [
      { name: 'gpu0', address: '0000:01:00.0' },
      { name: 'vf0', pool: 'fast' },
    ];
    const after = (...texts: string[]) => devicesAfter(readAssignments(texts, words), before);
    const mdev = '83b8f4f2-509f-382f-3c1e-e6bfe0fa1001';
    const [gpu, vf] = before;
    expect(after('device.vgpu=mdev=83b8f4f2-509f-382f-3c1e-e6bfe0fa1001')).toEqual([
      gpu,
      vf,
      { name: 'vgpu', mdev },
    ]);
    expect(after('device.gpu0=address=0000:02:00.0')).toEqual([
      { name: 'gpu0', address: '0000:02:00.0' },
      vf,
    ]);
    expect(after('device.gpu0=')).toEqual([vf]);
    expect(after('device.gpu0=', 'device.vf0=')).toBeNull();
    expect(after('device.none=')).toEqual(before);
    expect(after('cpus=2')).toBeUndefined();
    for (const devices of [after('device.gpu0='), after('device.gpu0=', 'device.vf0=')])
      expect(instanceUpdateSchema.safeParse({ spec: { devices } }).success).toBe(true);
    for (const wrong of ['pool=a,pool=b', 'host=x', 'pool=', '=x'])
      expect(() => after(`device.gpu0=${wrong}`), wrong).toThrow('cannot be');
  });

  it('cover every limit of the contract', () => {
    const { limits } = policyUpdateSchema.shape;
    const leaves = (schema: unknown): number => {
      const { shape } = unwrapped(schema);
      return shape === undefined || 'rate' in shape
        ? 1
        : Object.values(shape).reduce((n: number, each) => n + leaves(each), 0);
    };
    expect(keySpecs.filter(isShared)).toHaveLength(leaves(limits));
  });

  it('are found with the name in them, and by their aliases', () => {
    expect(findKey('disk.root.read')).toMatchObject({ name: 'root', spec: { key: 'disk.NAME.read' } });
    expect(findKey('disk.read')).toMatchObject({ spec: { key: 'disk.read' } });
    expect(findKey('network.nic0.egress-burst')).toMatchObject({ name: 'nic0' });
    expect(findKey('label.a.b/c')).toMatchObject({ name: 'a.b/c' });
    expect(findKey('pin.12')).toMatchObject({ name: '12', spec: { key: 'pin.VCPU' } });
    expect(findKey('pin.emulator')).toMatchObject({ spec: { key: 'pin.emulator' } });
    expect(findKey('cpu.limit')).toMatchObject({ key: 'cpu.cores' });
    for (const wrong of [
      'disk.NAME.read',
      'disk..read',
      'disk.a.b.read',
      'network.x.y',
      'label.',
      'pin.x',
      'pin.-1',
      'pin.12345',
      'toString',
      '',
    ])
      expect(findKey(wrong), wrong).toBeUndefined();
    for (const alias of Object.keys(keyAliases)) expect(findKey(alias)).toBeDefined();
  });

  it('are in docs/reference/limits.md, each with what is said of it here', () => {
    const page = readFileSync(new URL('../../../docs/reference/limits.md', import.meta.url), 'utf8');
    const when = { live: 'live', start: 'next start', record: 'at once' } as const;
    const row = ({ key, summary, unit, when: acts, acts: where, floor = '' }: KeySpec): string =>
      `| \`${key}\` | ${summary} | ${unitTexts[unit]} | ${when[acts]} | ${where} | ${floor} |`;
    const missing = keySpecs.map(row).filter((line) => !page.includes(`${line}\n`));
    expect(missing, `Put these into the page:\n${missing.join('\n')}`).toEqual([]);
  });
});

interface Loose {
  readonly shape?: Readonly<Record<string, unknown>>;
  readonly unwrap?: () => unknown;
}

/** Below optional and nullable, and the refinements of a rate. */
function unwrapped(schema: unknown): Loose {
  let inner = schema as Loose;
  while (inner.shape === undefined && inner.unwrap !== undefined) inner = inner.unwrap() as Loose;
  return inner;
}
