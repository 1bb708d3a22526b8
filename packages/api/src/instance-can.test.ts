import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { actionsIn, can, type InstanceAction, instanceCan, instanceStates } from './instance-can.ts';

// Object.keys loses the key type; the table is a literal.
const actions = Object.keys(instanceCan) as InstanceAction[];

/** What is done to its disks. */
const disks = ['attach', 'detach', 'medium', 'snapshot'] as const;

describe('what an instance allows', () => {
  it.each([
    [
      'stopped',
      ['start', 'stop', 'rename', 'update', 'remove', 'remove --force', ...disks, 'restore', 'export'],
    ],
    ['starting', ['stop', 'remove --force']],
    [
      'running',
      [
        ...['stop', 'restart', 'reset', 'pause', 'rename', 'update', 'remove --force'],
        ...['console', 'exec', 'cp'],
        ...disks,
        ...['ssh', 'isolation'],
      ],
    ],
    [
      'paused',
      [
        ...['stop', 'restart', 'reset', 'resume', 'rename', 'update', 'remove --force'],
        ...['console', ...disks, 'isolation'],
      ],
    ],
    ['stopping', ['stop', 'remove --force']],
    ['unresponsive', ['stop', 'restart', 'rename', 'update', 'remove --force', 'console', 'isolation']],
    [
      'crashed',
      ['start', 'stop', 'rename', 'update', 'remove', 'remove --force', ...disks, 'restore', 'export'],
    ],
    ['removing', ['remove', 'remove --force']],
  ] as const)('while it is %s', (state, allowed) => {
    expect(actionsIn(state)).toEqual(allowed);
  });

  it('is the same asked by action and by state', () => {
    fc.assert(
      fc.property(fc.constantFrom(...actions), fc.constantFrom(...instanceStates), (action, state) => {
        expect(actionsIn(state).includes(action)).toBe(can(action, state));
      }),
    );
  });

  it('includes by force whatever it includes without', () => {
    for (const state of instanceStates) {
      if (can('remove', state)) expect(can('remove --force', state)).toBe(true);
    }
  });

  it('leaves an instance in no state for ever: each has a way out', () => {
    for (const state of instanceStates) expect(can('remove --force', state)).toBe(true);
  });
});
