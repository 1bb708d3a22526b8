import { hugePageReserveContract } from '@wirt/core/contract/host-memory';
import { afterEach, describe, expect, it } from 'vitest';
import { removeFiles } from '../../platform/host-files.fixture.ts';
import { fakePool } from './huge-pages.fixture.ts';
import { createHugePageReserve } from './huge-pages.ts';

afterEach(removeFiles);
const signal = (): AbortSignal => AbortSignal.timeout(10_000);

hugePageReserveContract('the reserve on a tree of files', async () => {
  const pool = await fakePool({ room: 100, total: 3 });
  return {
    reserve: createHugePageReserve(pool),
    node: 0,
    sizeKib: 2048,
    spare: 8,
    async hold(count) {
      pool.use(count);
      return { letGo: async () => pool.use(0) };
    },
    destroy: removeFiles,
  };
});

describe('huge pages', () => {
  it('are as many as there is memory for, and the answer says how many', async () => {
    const pool = await fakePool({ room: 5 });
    const reserve = createHugePageReserve(pool);
    expect(await reserve.setTotal(0, 2048, 12, signal())).toBe(5);
    expect(await reserve.pages(signal())).toEqual([
      { node: 0, sizeKib: 2048, total: 5, free: 5, surplus: 0 },
    ]);
  });

  it('are reserved a gibibyte at a time, until the kernel has no more', async () => {
    const pool = await fakePool({ room: 1100 });
    expect(await createHugePageReserve(pool).setTotal(0, 2048, 4000, signal())).toBe(1100);
    expect(pool.written).toEqual([512, 1024, 1536]);
    const gigantic = await fakePool({ room: 2, sizeKib: 1_048_576 });
    expect(await createHugePageReserve(gigantic).setTotal(0, 1_048_576, 8, signal())).toBe(2);
    expect(gigantic.written).toEqual([1, 2, 3]);
  });

  it('are kept when the wish is given up on the way', async () => {
    const pool = await fakePool({ room: 9999 });
    const giveUp = new AbortController();
    const writes = {
      async write(...args: Parameters<typeof pool.writes.write>) {
        await pool.writes.write(...args);
        if (pool.written.length === 2) giveUp.abort(new Error('enough'));
      },
    };
    const reserve = createHugePageReserve({ files: pool.files, writes });
    await expect(reserve.setTotal(0, 2048, 4000, giveUp.signal)).rejects.toThrow('enough');
    expect((await reserve.pages(signal()))[0]?.total).toBe(1024);
  });

  it('of a kernel without NUMA are those of the host, and its only node’s', async () => {
    const pool = await fakePool({ room: 10, numa: false });
    const reserve = createHugePageReserve(pool);
    expect(await reserve.setTotal(0, 2048, 4, signal())).toBe(4);
    expect(await reserve.setTotal(1, 2048, 4, signal())).toBe(0);
    expect(await reserve.pages(signal())).toMatchObject([{ node: 0, total: 4 }]);
  });

  it('of a size that is only made at boot stay as they are', async () => {
    const pool = await fakePool({ room: 10, total: 3 });
    pool.failWith('EINVAL');
    expect(await createHugePageReserve(pool).setTotal(0, 2048, 5, signal())).toBe(3);
  });

  it.each([
    ['EACCES', 'host.permission_denied'],
    ['EROFS', 'host.storage_read_only'],
  ])('that may not be set (%s) say so', async (errno, code) => {
    const pool = await fakePool({ room: 10 });
    pool.failWith(errno);
    await expect(createHugePageReserve(pool).setTotal(0, 2048, 5, signal())).rejects.toMatchObject({
      code,
      message: expect.stringContaining('nr_hugepages'),
    });
  });
});
