import { QmpError } from '@wirt/qemu';
import { describe, expect, it } from 'vitest';
import type { Ask } from './control.ts';
import { dropUnused, freeNumber, readBlockState } from './disk-chain.ts';

const never = new AbortController().signal;
const [base, middle, top] = [
  '01K00000000000000000000001',
  '01K00000000000000000000002',
  '01K00000000000000000000003',
];

interface Fake {
  readonly ask: Ask;
  readonly closed: string[];
}

/** A QEMU that has these nodes and drives. By each node is said what it lies on: QEMU closes nothing below another. */
function fakeQemu(state: {
  readonly drives?: readonly object[];
  readonly nodes?: Readonly<Record<string, string | undefined>>;
  readonly iothreads?: readonly string[];
}): Fake {
  const nodes = new Map(Object.entries(state.nodes ?? {}));
  const closed: string[] = [];
  // It answers by command, as QEMU does, whose promise the types are.
  // oxlint-disable-next-line typescript/no-explicit-any
  const answer = (command: string, args: Record<string, unknown>): any => {
    switch (command) {
      case 'query-blockstats':
        return state.drives ?? [];
      case 'query-named-block-nodes':
        return [...nodes.keys()].map((name) => ({ 'node-name': name }));
      case 'query-iothreads':
        return (state.iothreads ?? []).map((id) => ({ id }));
      case 'blockdev-del': {
        const name = String(args['node-name']);
        if ([...nodes.values()].includes(name)) throw new QmpError('blockdev-del', 'GenericError', 'in use');
        nodes.delete(name);
        closed.push(name);
        return {};
      }
      default:
        closed.push(String(args['id']));
        return {};
    }
  };
  const ask: Ask = async (command, args) => answer(command, { ...args });
  return { ask, closed };
}

describe('the drives of a guest', () => {
  it('are read from the base on, past a job’s own filter', async () => {
    const drives = [
      {
        qdev: '/machine/peripheral/disk-root/virtio-backend',
        'node-name': '#block016',
        backing: {
          'node-name': `d3-${top}`,
          parent: { 'node-name': `f3-${top}` },
          backing: { 'node-name': `d3-${base}`, parent: { 'node-name': `f3-${base}` } },
        },
      },
      { qdev: 'disk-cd' },
      { qdev: '/machine/system.flash0', 'node-name': 'firmware-code' },
    ];
    const state = await readBlockState(fakeQemu({ drives }).ask, never);
    expect([...state.drives.values()]).toEqual([
      { disk: 'root', layers: [base, top], top: { node: `d3-${top}`, number: 3 } },
      { disk: 'cd', layers: [], top: undefined },
    ]);
    expect(state.releasing).toBe(false);
  });
});

describe('what is left over', () => {
  it('is closed from the top on, and nothing that is in use or of another kind', async () => {
    const drives = [{ qdev: 'disk-root', 'node-name': `d0-${base}`, parent: { 'node-name': `f0-${base}` } }];
    const fake = fakeQemu({
      drives,
      nodes: {
        [`f0-${base}`]: undefined,
        [`d0-${base}`]: `f0-${base}`,
        [`f1-${middle}`]: undefined,
        [`d1-${middle}`]: `f1-${middle}`,
        [`d1-${top}`]: `d1-${middle}`,
        'firmware-code': undefined,
      },
      iothreads: ['io-root', 'io-gone', 'another'],
    });
    await dropUnused(fake.ask);
    expect(fake.closed.toSorted()).toEqual(
      [`d1-${middle}`, `d1-${top}`, `f1-${middle}`, 'io-gone'].toSorted(),
    );
  });
});

it('a number is free when no node has it', async () => {
  const fake = fakeQemu({ nodes: { [`d0-${base}`]: undefined, [`f1-${base}`]: undefined, d2: undefined } });
  expect(await freeNumber(fake.ask, never)).toBe(2);
});
