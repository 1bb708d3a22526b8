// HugePageReserve on sysfs: nr_hugepages of each node, grown in steps of a gibibyte, so that a reservation of terabytes can
// be given up and stops where the kernel has no more. Remembers nothing.
import type { HugePageReserve, NodePages } from '@wirt/core';
import { fsError, hasErrno } from '../../platform/fs-error.ts';
import type { HostFiles } from '../../platform/host-files.ts';
import type { SysfsWrites } from '../../platform/sysfs-writes.ts';
import { poolDirectories, poolSizes, readPool } from './nodes.ts';

const stepKib = 1024 * 1024;

export interface HugePageOptions {
  readonly files: HostFiles;
  readonly writes: SysfsWrites;
}

export function createHugePageReserve({ files, writes }: HugePageOptions): HugePageReserve {
  /** False: there is no such pool, or the kernel makes pages of this size at boot only. */
  async function write(path: string, total: number, signal: AbortSignal): Promise<boolean> {
    try {
      await writes.write(path, String(total), signal);
      return true;
    } catch (error) {
      signal.throwIfAborted();
      if (hasErrno(error, 'ENOENT', 'ENODEV', 'EINVAL')) return false;
      throw fsError(error, `set the number of huge pages in`, path);
    }
  }

  return {
    async pages(signal) {
      signal.throwIfAborted();
      const pools = await poolDirectories(files);
      const read = await Promise.all(pools.map(({ node, directory }) => pagesOf(files, node, directory)));
      signal.throwIfAborted();
      return read.flat();
    },
    async setTotal(node, sizeKib, total, signal) {
      signal.throwIfAborted();
      const pool = (await poolDirectories(files)).find((each) => each.node === node);
      if (pool === undefined) return 0;
      const { directory } = pool;
      const path = `${directory}/hugepages-${sizeKib}kB/nr_hugepages`;
      const now = async () => (await readPool(files, directory, sizeKib)) ?? { total: 0, surplus: 0 };
      const step = Math.max(1, Math.floor(stepKib / sizeKib));
      let seen = await now();
      // The kernel counts surplus apart: what it is told is how many there are without.
      let own = seen.total - seen.surplus;
      while (own !== total) {
        const next = Math.min(total, own + step);
        if (!(await write(path, next, signal))) break;
        seen = await now();
        own = seen.total - seen.surplus;
        if (own < next || next === total) break;
      }
      return seen.total;
    },
  };
}

async function pagesOf(files: HostFiles, node: number, directory: string): Promise<readonly NodePages[]> {
  const sizes = await poolSizes(files, directory);
  const pools = await Promise.all(sizes.map((size) => readPool(files, directory, size)));
  return pools.flatMap((pool) => (pool === undefined ? [] : [{ node, ...pool }]));
}
