import { afterEach, describe, expect, it } from 'vitest';
import { filesOf, removeFiles } from '../../platform/host-files.fixture.ts';
import { parseChoice, readHugePages, readMemory, readNuma, readPages } from './memory.ts';

afterEach(removeFiles);

const memoryFiles = (are: boolean) => ({ usable: async () => are });

describe('memory', () => {
  it('is told in MiB', async () => {
    const files = await filesOf({
      '/proc/meminfo':
        'MemTotal:       24684068 kB\nMemFree: 1 kB\nMemAvailable:   23956000 kB\nSwapTotal:       1048576 kB\nHugetlb:           8192 kB\n',
    });
    expect(await readMemory(files)).toEqual({
      totalMib: 24105,
      availableMib: 23394,
      swapTotalMib: 1024,
      hugePagesMib: 8,
    });
    const nothing = { totalMib: 0, availableMib: 0, swapTotalMib: 0, hugePagesMib: 0 };
    expect(await readMemory(await filesOf({}))).toEqual(nothing);
  });

  it('is told by node, in the order of their numbers', async () => {
    const node = (n: number, cpus: string): Record<string, string> => ({
      [`/sys/devices/system/node/node${n}/cpulist`]: `${cpus}\n`,
      [`/sys/devices/system/node/node${n}/meminfo`]: `Node ${n} MemTotal:  2097152 kB\nNode ${n} MemFree:  1048576 kB\n`,
    });
    const files = await filesOf({
      ...node(10, ''),
      ...node(2, '0-3,8-11'),
      '/sys/devices/system/node/online': '2,10\n',
    });
    expect(await readNuma(files)).toEqual([
      { node: 2, cpus: '0-3,8-11', memoryMib: 2048, freeMib: 1024 },
      { node: 10, cpus: '', memoryMib: 2048, freeMib: 1024 },
    ]);
  });

  it('has its pools of huge pages told by size', async () => {
    const pool = (kib: number, total: number, free: number): Record<string, string> => ({
      [`/sys/kernel/mm/hugepages/hugepages-${kib}kB/nr_hugepages`]: `${total}\n`,
      [`/sys/kernel/mm/hugepages/hugepages-${kib}kB/free_hugepages`]: `${free}\n`,
    });
    expect(await readHugePages(await filesOf({ ...pool(1_048_576, 2, 1), ...pool(2048, 512, 0) }))).toEqual([
      { sizeKib: 2048, total: 512, free: 0 },
      { sizeKib: 1_048_576, total: 2, free: 1 },
    ]);
  });

  it('tells which kinds of pages are put together', async () => {
    const files = await filesOf({
      '/sys/kernel/mm/transparent_hugepage/enabled': 'always [madvise] never\n',
      '/sys/kernel/mm/ksm/run': '1\n',
    });
    const seen = { thp: 'madvise', shmemThp: 'advise', ksmRun: 1, numaBalancing: undefined };
    expect(await readPages(files, memoryFiles(true))).toEqual(seen);
    expect(await readPages(await filesOf({}), memoryFiles(false))).toMatchObject({
      thp: 'absent',
      shmemThp: 'never',
      ksmRun: undefined,
    });
    expect(parseChoice('never')).toBeUndefined();
  });

  it('of guests is put together whatever is said of memfds, and not where it is forbidden for all that is shared', async () => {
    const withSwitch = async (text: string): Promise<string> => {
      const files = await filesOf({ '/sys/kernel/mm/transparent_hugepage/shmem_enabled': text });
      return (await readPages(files, memoryFiles(true))).shmemThp;
    };
    expect(await withSwitch('always within_size advise [never] deny force\n')).toBe('advise');
    expect(await withSwitch('always within_size advise never [deny] force\n')).toBe('deny');
  });
});
