// That guests' memory, with a real kernel and QEMU, is in huge pages from its first use on, and leaves nothing behind. Needs root.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Guest } from '@wirt/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createQemuHarness, isRoot, type QemuHarness } from './harness.fixture.ts';
import { createMemoryFiles } from './memory-files.ts';
import { silentLogger } from './silent-logger.fixture.ts';

const run = promisify(execFile);
const never = new AbortController().signal;
const shmemEnabled = '/sys/kernel/mm/transparent_hugepage/shmem_enabled';
const hasHugePages = existsSync(shmemEnabled);
let undo = async (): Promise<void> => {};
let harness: QemuHarness;
let runDirectory = '';

beforeEach(async () => {
  // As hosts have it: what is said of memfds is nothing to it.
  if (isRoot && hasHugePages) {
    const before = await readFile(shmemEnabled, 'utf8');
    await writeFile(shmemEnabled, 'never');
    undo = () => writeFile(shmemEnabled, /\[(\w+)\]/.exec(before)?.[1] ?? 'never');
  }
  harness = await createQemuHarness();
  runDirectory = join(harness.directory, 'run');
});
afterEach(async () => {
  await harness[Symbol.asyncDispose]();
  await undo();
});

async function launch(): Promise<Guest> {
  const hypervisor = harness.open();
  return await hypervisor.launch(harness.plan(), harness.confinement, {
    signal: never,
    onStep: async () => {},
  });
}

/** Until its kernel says that it is up. */
async function resumed(guest: Guest): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let seen = '';
  guest.console.listen((data) => {
    seen += Buffer.from(data).toString('latin1');
    if (seen.includes('ready')) resolve();
  });
  await guest.resume(never);
  await promise;
}

/** The part of the guest's memory in the process's map, and what the kernel says of it (proc_pid_smaps(5)). */
async function memoryOf(guest: Guest): Promise<{ first: string; address: bigint; hugeKib: number }> {
  const smaps = await readFile(`/proc/${guest.process.pid}/smaps`, 'utf8');
  const [part = ''] = smaps
    .split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)
    .filter((text) => /^[^\n]*(\/\d+ \(deleted\)|memfd:)/.test(text));
  return {
    first: part.split('\n')[0] ?? '',
    address: BigInt(`0x${part.split('-')[0]}`),
    hugeKib: Number(/^ShmemPmdMapped:\s+(\d+) kB$/m.exec(part)?.[1]),
  };
}

const mounts = async (): Promise<string> => await readFile('/proc/self/mountinfo', 'utf8');

// Mounting needs root, and huge pages a kernel that has them.
describe.skipIf(!isRoot || !hasHugePages)('the memory of a guest', () => {
  it('begins where a huge page does, and is mapped in such pages when it is used', async () => {
    const guest = await launch();
    await resumed(guest);
    const { first, address, hugeKib } = await memoryOf(guest);
    expect(first).not.toContain('memfd');
    expect(address % BigInt(2 * 1024 * 1024)).toBe(0n);
    expect(hugeKib).toBeGreaterThanOrEqual(2048);
    await guest.kill(never);
  });

  it('has no name, no place in the file system and no mount', async () => {
    const guest = await launch();
    expect((await memoryOf(guest)).first).toMatch(/\(deleted\)$/);
    expect(await readdir(runDirectory)).toEqual(['instances']);
    expect(await mounts()).not.toContain(runDirectory);
    await guest.kill(never);
  });

  it('stays when wirtd lets go of it, and the guest runs on', async () => {
    const guest = await launch();
    await harness.forgetMemoryFiles();
    await resumed(guest);
    await guest.kill(never);
  });

  it('is in a memfd where there is no tmpfs to be had', async () => {
    await mkdir(runDirectory);
    // Nothing can be mounted on it.
    await writeFile(join(runDirectory, 'memory'), '');
    const guest = await launch();
    await resumed(guest);
    expect((await memoryOf(guest)).first).toContain('/memfd:memory-backend-memfd');
    await guest.kill(never);
  });

  it('is not mounted for good by a wirtd that dies halfway', async () => {
    const place = join(runDirectory, 'memory');
    await mkdir(place, { recursive: true });
    await run('mount', ['-t', 'tmpfs', 'wirt-memory', place]);
    await using files = createMemoryFiles({ runDirectory, logger: silentLogger });
    expect(await files.usable()).toBe(true);
    expect(await mounts()).not.toContain(runDirectory);
  });
});
