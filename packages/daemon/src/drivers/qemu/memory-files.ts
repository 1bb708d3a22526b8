// Where the shared memory of guests lies: files of a tmpfs of wirtd's own, which gives huge pages where QEMU asks for them, whatever the host
// says of shared memory elsewhere. QEMU aligns such a file to huge pages; a memfd it aligns to 4 KiB, and no huge page can be mapped in it.
// Neither the files nor the tmpfs have a name: they end with the guests that have them. Pages that merge are private, and not here.
// Sources: Linux filesystems/tmpfs.rst, admin-guide/mm/transhuge.rst; QEMU softmmu/physmem.c (file_ram_alloc), backends/hostmem-memfd.c.
import { constants, type FileHandle, mkdir, open, rmdir, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Identity, Logger } from '@wirt/core';
import { runOrAbandon } from '../../platform/abandon.ts';

const mountMs = 10_000;
/** A mount that failed is tried again with the next guest after so long. */
const retryMs = 60_000;

/** Only wirtd gets in, by the path of its descriptor. Room is what control groups and the host's memory leave, as for a memfd. */
const mountOptions = 'huge=advise,size=0,nr_inodes=0,mode=0700,nosuid,nodev,noexec';

/** Guests keep what they have of it when it is disposed of. */
export interface MemoryFiles extends AsyncDisposable {
  /** Whether there is such a tmpfs. Where not, guests' memory is in memfds. */
  usable(): Promise<boolean>;
  /** Empty files for QEMU to inherit, and to make a guest's memory in. Undefined where there is no tmpfs, and where it takes none. Never throws. */
  open(count: number, owner: FileOwner): Promise<OpenFiles | undefined>;
}

export type FileOwner = Pick<Identity, 'uid' | 'gid'>;

/** Closes what was opened; what QEMU has inherited stays. */
export interface OpenFiles extends AsyncDisposable {
  readonly fds: readonly number[];
}

export interface MemoryFilesOptions {
  readonly runDirectory: string;
  readonly logger: Logger;
}

export function createMemoryFiles({ runDirectory, logger }: MemoryFilesOptions): MemoryFiles {
  let mounting: Promise<FileHandle | undefined> | undefined;
  let triedMs = Number.NEGATIVE_INFINITY;
  let made = 0;

  async function mount(): Promise<FileHandle | undefined> {
    triedMs = performance.now();
    return await mountUnnamed(join(runDirectory, 'memory')).catch((error: unknown) => {
      logger.warn('guest.memory_in_memfd', { error });
      return undefined;
    });
  }

  /** Without root nothing can be mounted. */
  async function root(): Promise<FileHandle | undefined> {
    if (process.geteuid?.() !== 0) return undefined;
    mounting ??= mount();
    if ((await mounting) === undefined && performance.now() - triedMs > retryMs) mounting = mount();
    return await mounting;
  }

  async function openAll(count: number, owner: FileOwner): Promise<OpenFiles | undefined> {
    const top = await root();
    if (top === undefined) return undefined;
    await using undo = new AsyncDisposableStack();
    const fds: number[] = [];
    while (fds.length < count) {
      made += 1;
      fds.push(undo.use(await openUnnamed(`/proc/self/fd/${top.fd}/${made}`, owner)).fd);
    }
    const held = undo.move();
    return { fds, [Symbol.asyncDispose]: () => held.disposeAsync() };
  }

  return {
    usable: async () => (await root()) !== undefined,
    async open(count, owner) {
      return await openAll(count, owner).catch((error: unknown) => {
        logger.warn('guest.memory_in_memfd', { error });
        return undefined;
      });
    },
    [Symbol.asyncDispose]: async () => (await mounting)?.close(),
  };
}

/** The guest's, for QEMU opens it anew by its descriptor. */
async function openUnnamed(path: string, { uid, gid }: FileOwner): Promise<FileHandle> {
  const handle = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
  try {
    await unlink(path);
    await handle.chown(uid, gid);
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** It lives on by the open directory, and by what is mapped of it. */
async function mountUnnamed(place: string): Promise<FileHandle> {
  await mkdir(place, { recursive: true, mode: 0o700 });
  // A wirtd that died halfway has left it there.
  await unmount(place);
  try {
    await runMount('mount', ['-t', 'tmpfs', '-o', mountOptions, 'wirt-memory', place]);
    if (!(await isMountPoint(place))) throw new Error(`${place} was unmounted by somebody else.`);
    return await open(place);
  } finally {
    // What stays of it is seen in the mount table, and is mended by the next wirtd; the memory is as good.
    await unmount(place)
      .then(() => rmdir(place))
      .catch(() => undefined);
  }
}

async function unmount(place: string): Promise<void> {
  while (await isMountPoint(place)) await runMount('umount', ['-l', place]);
}

async function isMountPoint(place: string): Promise<boolean> {
  const [inner, outer] = await Promise.all([stat(place), stat(dirname(place))]);
  return inner.dev !== outer.dev;
}

async function runMount(program: string, args: readonly string[]): Promise<void> {
  const signal = AbortSignal.timeout(mountMs);
  const { exitCode, stderr } = await runOrAbandon(program, args, { deadlineMs: mountMs, signal });
  if (exitCode !== 0) throw new Error(`${program} exited with ${exitCode}: ${stderr.trim()}`);
}
