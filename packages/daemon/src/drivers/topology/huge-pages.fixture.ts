// The kernel's part of a pool of huge pages on a tree of files: it makes as many as it has memory for, and takes none that is
// in use (admin-guide/mm/hugetlbpage.rst; compared with Linux 6.18, see huge-pages.contract.test.ts).
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeRoot, writeTable } from '../../platform/host-files.fixture.ts';
import { createHostFiles, type HostFiles } from '../../platform/host-files.ts';
import type { SysfsWrites } from '../../platform/sysfs-writes.ts';

export interface FakePool {
  readonly files: HostFiles;
  readonly writes: SysfsWrites;
  /** What was written, in order. */
  readonly written: readonly number[];
  /** Pages that processes use; fewer lets go. */
  use(count: number): void;
  /** The next write fails so. */
  failWith(errno: string): void;
}

export async function fakePool(options: {
  /** Pages that there is memory for. */
  readonly room: number;
  readonly sizeKib?: number;
  readonly total?: number;
  readonly numa?: boolean;
}): Promise<FakePool> {
  const { room, sizeKib = 2048, numa = true } = options;
  const root = await makeRoot();
  const parent = numa ? '/sys/devices/system/node/node0/hugepages' : '/sys/kernel/mm/hugepages';
  const directory = `${parent}/hugepages-${sizeKib}kB`;
  let [total, surplus, inUse] = [options.total ?? 0, 0, 0];
  let failure: string | undefined;
  const written: number[] = [];

  const values = () => ({ nr_hugepages: total, free_hugepages: total - inUse, surplus_hugepages: surplus });
  const show = (): void => {
    for (const [name, value] of Object.entries(values()))
      writeFileSync(join(root, directory, name), `${value}\n`);
  };
  writeTable(root, { [`${directory}/`]: '', ...(numa ? { '/sys/devices/system/node/online': '0\n' } : {}) });
  show();

  return {
    files: createHostFiles(root),
    written,
    use(count) {
      const letGo = Math.max(0, inUse - count);
      const gone = Math.min(surplus, letGo);
      [total, surplus, inUse] = [total - gone, surplus - gone, count];
      show();
    },
    failWith(errno) {
      failure = errno;
    },
    writes: {
      async write(path, value, signal) {
        signal.throwIfAborted();
        const errno = failure ?? (existsSync(join(root, path)) ? undefined : 'ENOENT');
        failure = undefined;
        if (errno !== undefined) throw Object.assign(new Error(`${errno}: ${path}`), { code: errno });
        written.push(Number(value));
        const wanted = Math.min(Number(value), room);
        // What is used stays, and is surplus as far as it is more than wanted.
        total = Math.max(wanted, inUse);
        surplus = total - wanted;
        show();
      },
    },
  };
}
