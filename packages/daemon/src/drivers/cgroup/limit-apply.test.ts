import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeRoom } from './limit-apply.ts';
import { type FakeTree, makeTree } from './tree.fixture.ts';

const mib = 2 ** 20;

describe('room below a new ceiling', () => {
  let tree: FakeTree;

  beforeEach(() => {
    tree = makeTree();
    hold(300);
  });
  afterEach(() => tree[Symbol.dispose]());

  const hold = (usedMib: number) => tree.write({ 'memory.current': `${usedMib * mib}\n` });
  /** A kernel that gives back what it is asked for, down to what is locked. */
  function kernel(lockedMib: number): {
    asked: number[];
    reclaim: (file: string, bytes: number) => Promise<void>;
  } {
    const asked: number[] = [];
    let used = 300;
    return {
      asked,
      reclaim: (_file, bytes) => {
        asked.push(bytes / mib);
        used = Math.max(lockedMib, used - bytes / mib);
        hold(used);
        return Promise.resolve();
      },
    };
  }

  it('is asked back in pieces', async () => {
    const { asked, reclaim } = kernel(0);
    await makeRoom(tree.root, String(100 * mib), { reclaim });
    expect(asked).toEqual([64, 64, 64, 8]);
  });

  it('is not there when the kernel stops giving back', async () => {
    const { asked, reclaim } = kernel(200);
    await expect(makeRoom(tree.root, String(100 * mib), { reclaim })).rejects.toMatchObject({
      file: 'memory.max',
      cause: { message: '200 MiB are in use and cannot be reclaimed' },
    });
    expect(asked).toEqual([64, 64, 64]);
  });

  it('is not waited for beyond the deadline, also while the kernel is still at it', async () => {
    // Opening it for writing waits for a reader, which comes when the test is over.
    const file = join(tree.root, 'memory.reclaim');
    execFileSync('mkfifo', [file]);
    try {
      await expect(makeRoom(tree.root, String(100 * mib), { timeoutMs: 50 })).rejects.toMatchObject({
        file: 'memory.max',
        cause: { message: '300 MiB are in use and could not be reclaimed within 0.05 s' },
      });
    } finally {
      closeSync(openSync(file, constants.O_RDWR | constants.O_NONBLOCK));
    }
  });
});
