// The real kernel's pools. Needs root, and a host that nobody else reserves pages on meanwhile; each test puts back what it found.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { hugePageReserveContract } from '@wirt/core/contract/host-memory';
import { describe, expect, it } from 'vitest';
import { createHostFiles } from '../../platform/host-files.ts';
import { createSysfsWrites } from '../../platform/sysfs-writes.ts';
import { createHugePageReserve } from './huge-pages.ts';
import { readTopology } from './topology.ts';

const qemu = '/usr/bin/qemu-system-x86_64';
const sizeKib = 2048;
const pool = `/sys/devices/system/node/node0/hugepages/hugepages-${sizeKib}kB`;
const isRoot = process.geteuid?.() === 0;
const signal = (): AbortSignal => AbortSignal.timeout(10_000);

/** A guest's memory without a guest: QEMU touches the pages before it answers on standard output. */
async function holdPages(count: number): Promise<{ letGo(): Promise<void> }> {
  const memory = `memory-backend-memfd,id=m,size=${count * sizeKib}K,hugetlb=on,hugetlbsize=${sizeKib}K,prealloc=on`;
  const child = spawn(
    qemu,
    [
      '-nodefaults',
      '-no-user-config',
      '-machine',
      'none',
      '-display',
      'none',
      '-S',
      '-object',
      memory,
      '-qmp',
      'stdio',
    ],
    { stdio: ['pipe', 'pipe', 'inherit'], timeout: 30_000, killSignal: 'SIGKILL' },
  );
  const closed = once(child, 'close');
  await Promise.race([
    once(child.stdout, 'data'),
    closed.then(() => Promise.reject(new Error('QEMU ended before it held its pages'))),
  ]);
  return {
    async letGo() {
      child.kill('SIGKILL');
      await closed;
    },
  };
}

// Needs root, and a kernel with huge pages of 2 MiB on NUMA nodes.
describe.skipIf(!isRoot || !existsSync(pool))('with this kernel', () => {
  hugePageReserveContract('sysfs', async () => ({
    reserve: createHugePageReserve({ files: createHostFiles(), writes: createSysfsWrites() }),
    node: 0,
    sizeKib,
    spare: 8,
    // Needs QEMU for x86.
    ...(existsSync(qemu) ? { hold: holdPages } : {}),
    destroy: async () => undefined,
  }));
});

describe('the topology of this machine', () => {
  it('has the processors that run, on nodes that there are, and the memory of all', async () => {
    const { cpus, nodes } = await readTopology(createHostFiles(), signal());
    const online = readFileSync('/proc/stat', 'utf8').match(/^cpu\d+/gm) ?? [];
    expect(cpus.map(({ id }) => `cpu${id}`)).toEqual(online);
    for (const { node } of cpus) expect(nodes.map(({ id }) => id)).toContain(node);
    const totalKib = Number(/^MemTotal:\s+(\d+)/.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1]);
    const sumMib = nodes.reduce((sum, { totalMib }) => sum + totalMib, 0);
    // A balloon, or memory that is not accepted yet, is of the host's total and of no node's.
    expect(sumMib).toBeLessThanOrEqual(totalKib / 1024);
    expect(sumMib).toBeGreaterThan(totalKib / 1024 / 2);
    for (const { freeMib, totalMib, distances, id } of nodes) {
      expect(freeMib).toBeGreaterThan(0);
      expect(freeMib).toBeLessThan(totalMib);
      expect(distances[id]).toBe(10);
    }
  });
});
