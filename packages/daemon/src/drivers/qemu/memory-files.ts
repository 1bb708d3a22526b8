// Where the shared memory of guests lies: files of a tmpfs of wirtd's own, which gives huge pages where QEMU asks for them, whatever the host
// says of shared memory elsewhere. QEMU aligns such a file to huge pages; a memfd it aligns to 4 KiB, and no huge page can be mapped in it.
// The tmpfs has no name in the file system: what is in it, and it itself, end with the guests. Pages that merge are private, and not here.
// Sources: Linux filesystems/tmpfs.rst, admin-guide/mm/transhuge.rst; QEMU softmmu/physmem.c (file_ram_alloc), backends/hostmem-memfd.c.
import { chown, type FileHandle, mkdir, open, rmdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Identity, Logger } from '@wirt/core';
import { runToSuccess } from '../../platform/subprocess.ts';

const mountMs = 10_000;

/** Only wirtd gets in by the path of its descriptor. Room is what control groups and the host's memory leave, as for a memfd. */
const mountOptions = 'huge=advise,size=0,mode=0700,nosuid,nodev,noexec';

/** Guests keep what they have of it when it is disposed of. */
export interface MemoryFiles extends AsyncDisposable {
  /** Whether there is such a tmpfs. Where not, guests' memory is in memfds. */
  usable(): Promise<boolean>;
  /** For one start of a guest. Undefined where there is no tmpfs. */
  openFor(id: string, identity: Identity): Promise<MemoryDirectory | undefined>;
}

/** An empty directory that is the guest's. QEMU inherits it, and makes files without names in it; then it can go. */
export interface MemoryDirectory extends AsyncDisposable {
  readonly fd: number;
}

export interface MemoryFilesOptions {
  readonly runDirectory: string;
  readonly logger: Logger;
}

export function createMemoryFiles({ runDirectory, logger }: MemoryFilesOptions): MemoryFiles {
  let mounting: Promise<FileHandle | undefined> | undefined;

  /** Once: a kernel without huge pages stays so. */
  async function root(): Promise<FileHandle | undefined> {
    if (process.geteuid?.() !== 0) return undefined;
    mounting ??= mountUnnamed(join(runDirectory, 'memory')).catch((error: unknown) => {
      logger.warn('guest.memory_in_memfd', { error });
      return undefined;
    });
    return await mounting;
  }

  return {
    usable: async () => (await root()) !== undefined,
    async openFor(id, { uid, gid }) {
      const top = await root();
      if (top === undefined) return undefined;
      const path = `/proc/self/fd/${top.fd}/${id}`;
      const remove = () =>
        rmdir(path).catch((error: unknown) => logger.warn('guest.memory_directory_left', { id, error }));
      await mkdir(path, { mode: 0o700 });
      try {
        await chown(path, uid, gid);
        const handle = await open(path);
        return {
          fd: handle.fd,
          async [Symbol.asyncDispose]() {
            await handle.close();
            await remove();
          },
        };
      } catch (error) {
        await remove();
        throw error;
      }
    },
    [Symbol.asyncDispose]: async () => (await mounting)?.close(),
  };
}

/** It lives on by the open directory, and by what is mapped of it. */
async function mountUnnamed(place: string): Promise<FileHandle> {
  const run = (program: string, args: readonly string[]) =>
    runToSuccess(program, args, { timeoutMs: mountMs });
  await mkdir(place, { recursive: true, mode: 0o700 });
  // A wirtd that died halfway has left it there.
  if (await isMountPoint(place)) await run('umount', ['-l', place]);
  await run('mount', ['-t', 'tmpfs', '-o', mountOptions, 'wirt-memory', place]);
  try {
    return await open(place);
  } finally {
    await run('umount', ['-l', place]);
    await rmdir(place);
  }
}

async function isMountPoint(place: string): Promise<boolean> {
  const [inner, outer] = await Promise.all([stat(place), stat(dirname(place))]);
  return inner.dev !== outer.dev;
}
