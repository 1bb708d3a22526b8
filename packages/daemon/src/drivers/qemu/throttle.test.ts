import { QmpError } from '@wirt/qemu';
import { describe, expect, it } from 'vitest';
import type { Ask } from './control.ts';
import { silentLogger } from './silent-logger.fixture.ts';
import { readThrottles, setThrottles } from './throttle.ts';

const never = new AbortController().signal;
const qdev = '/machine/peripheral/disk-root/virtio-backend';

interface FakeQemu {
  readonly objects: readonly string[];
  /** Disks beside `root`. */
  readonly more?: readonly string[];
  /** What it refuses: a command, or a command for the disk of this name. */
  readonly refuses?: readonly string[];
}

/** What it is told to change is kept. */
function fakeQemu({ objects, more = [], refuses = [] }: FakeQemu) {
  const told: string[] = [];
  // It answers by command, as QEMU does, whose promise the types are.
  // oxlint-disable-next-line typescript/no-explicit-any
  const answer = (command: string): any => {
    switch (command) {
      case 'qom-list':
        return objects.map((name) => ({ name, type: 'child' }));
      case 'query-block':
        return [
          { qdev, inserted: { bps: 0, iops: 70 } },
          { qdev: 'disk-cd' },
          ...more.map((name) => ({ qdev: qdev.replace('root', name), inserted: { bps: 0, iops: 0 } })),
        ];
      case 'qom-get':
        return { 'bps-total': 5 };
      case 'query-blockstats':
        return [];
      default:
        told.push(command);
        return {};
    }
  };
  const ask: Ask = async (command, args) => {
    const disk = /disk-(\w+)/.exec(JSON.stringify(args))?.[1];
    const refusal = [command, `${command} ${disk}`].find((each) => refuses.includes(each));
    if (refusal !== undefined) throw new QmpError(command, 'GenericError', `no ${refusal}`);
    return answer(command);
  };
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

describe('limits that QEMU refuses of a disk', () => {
  const throttle = { totalBytes: { rate: 9 } };
  const limits = { all: throttle, each: { root: throttle, data: throttle, logs: throttle } };

  it('are told, once those of the other disks and of all together are in force', async () => {
    const { told, context } = fakeQemu({
      objects: ['limits0'],
      more: ['data', 'logs'],
      refuses: ['block_set_io_throttle root', 'block_set_io_throttle data'],
    });
    await expect(setThrottles(context, limits, never)).rejects.toMatchObject({
      code: 'limit.failed',
      message: 'Disk root of instance one could not be held to its limits.',
    });
    expect(told).toEqual(['block_set_io_throttle', 'qom-set']);
  });

  it('are told before what is refused of all together', async () => {
    const { told, context } = fakeQemu({
      objects: ['limits0'],
      more: ['data'],
      refuses: ['block_set_io_throttle data', 'qom-set'],
    });
    await expect(setThrottles(context, limits, never)).rejects.toMatchObject({
      message: expect.stringContaining('Disk data'),
    });
    expect(told).toEqual(['block_set_io_throttle']);
  });
});
