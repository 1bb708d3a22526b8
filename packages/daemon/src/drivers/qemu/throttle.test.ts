import { describe, expect, it } from 'vitest';
import type { Ask } from './control.ts';
import { silentLogger } from './silent-logger.fixture.ts';
import { readThrottles, setThrottles } from './throttle.ts';

const never = new AbortController().signal;
const qdev = '/machine/peripheral/disk-root/virtio-backend';

/** A QEMU with one disk; what it is told to change is kept. */
function fakeQemu({ objects }: { readonly objects: readonly string[] }) {
  const told: string[] = [];
  // It answers by command, as QEMU does, whose promise the types are.
  // oxlint-disable-next-line typescript/no-explicit-any
  const answer = (command: string): any => {
    switch (command) {
      case 'qom-list':
        return objects.map((name) => ({ name, type: 'child' }));
      case 'query-block':
        return [{ qdev, inserted: { bps: 0, iops: 70 } }, { qdev: 'disk-cd' }];
      case 'qom-get':
        return { 'bps-total': 5 };
      case 'query-blockstats':
        return [];
      default:
        told.push(command);
        return {};
    }
  };
  const ask: Ask = async (command) => answer(command);
  const exclusively = <T>(work: () => Promise<T>): Promise<T> => work();
  return { told, context: { id: 'one', ask, exclusively, logger: silentLogger } };
}

describe('a guest of an earlier version, whose disks have no throttle', () => {
  it('is held to the limits of each disk, and says what the rest needs', async () => {
    const { told, context } = fakeQemu({ objects: ['ram0'] });
    const limits = { all: { totalBytes: { rate: 5 } }, each: { root: { totalBytes: { rate: 5 } } } };
    await expect(setThrottles(context, limits, never)).rejects.toMatchObject({
      code: 'limit.unsupported',
      hint: expect.stringContaining('wirt start one'),
    });
    expect(told).toEqual(['block_set_io_throttle']);
  });

  it('has no limit of all together, and none is fine', async () => {
    const { told, context } = fakeQemu({ objects: ['ram0'] });
    const each = { root: { totalOperations: { rate: 70 } } };
    expect(await readThrottles(context.ask, never)).toEqual({ all: {}, each });
    await setThrottles(context, { all: { totalBytes: { rate: 0 } }, each }, never);
    expect(told).toEqual([]);
  });
});

it('limits that are in force already are not set again, which would begin them anew', async () => {
  const { told, context } = fakeQemu({ objects: ['limits0'] });
  const limits = await readThrottles(context.ask, never);
  expect(limits).toEqual({
    all: { totalBytes: { rate: 5 } },
    each: { root: { totalOperations: { rate: 70 } } },
  });
  await setThrottles(context, limits, never);
  expect(told).toEqual([]);
  await setThrottles(context, { ...limits, all: {} }, never);
  expect(told).toEqual(['qom-set']);
});
