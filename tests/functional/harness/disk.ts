// File systems of their own for a state directory, to be filled or to fail. Need root.
import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises'; // polls for the kernel to let go: there is no event
import { promisify } from 'node:util';

// mkfs and e2fsck are in /usr/sbin, which is not on the path of everybody who may use sudo.
const env = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` };
const run = (program: string, args: readonly string[]) => promisify(execFile)(program, args, { env });

export interface Disk extends AsyncDisposable {
  /** For a daemon's `directory`: its `state` is what is mounted. */
  readonly directory: string;
}

async function mounted(mount: (directory: string, state: string) => Promise<unknown>): Promise<Disk> {
  const directory = await realpath(await mkdtemp(join(tmpdir(), 'wirt-disk-')));
  const state = join(directory, 'state');
  const remove = () => rm(directory, { recursive: true, force: true });
  try {
    await mkdir(state);
    await mount(directory, state);
  } catch (error) {
    await remove();
    throw error;
  }
  return {
    directory,
    [Symbol.asyncDispose]: async () => {
      // After a repair that failed midway nothing is mounted.
      await run('umount', ['-l', state]).catch(() => undefined);
      await remove();
    },
  };
}

/** Small enough to fill. */
export function smallDisk(mib = 256): Promise<Disk> {
  return mounted((_, state) => run('mount', ['-t', 'tmpfs', '-o', `size=${mib}m`, 'tmpfs', state]));
}

/** A small ext4, which allocates late and knows direct I/O, as the file systems do that pools lie on. */
export function smallExt4(mib: number): Promise<Disk> {
  return mounted(async (directory, state) => {
    await run('truncate', ['-s', `${mib}M`, join(directory, 'disk')]);
    await run('mkfs.ext4', ['-q', '-m', '0', join(directory, 'disk')]);
    await run('mount', ['-o', 'loop', join(directory, 'disk'), state]);
    // Guests have uids of their own, and must get through.
    for (const path of [directory, state]) await chmod(path, 0o755);
  });
}

/** An ext4 that `fail` makes read-only with files open for writing, as the kernel does when a disk fails. */
export interface FailingDisk extends Disk {
  fail(): Promise<void>;
  /** Such an ext4 is writable only after it was checked and mounted anew, which takes that nobody has a file open on it. */
  repair(): Promise<void>;
}

/**
 * When the kernel has put a file system down for good: one that a process of another mount namespace still sees lives on after umount(8),
 * and would write over what is mounted of the same file meanwhile.
 */
async function released(file: string): Promise<void> {
  const deadlineMs = performance.now() + 30_000;
  for (;;) {
    const { stdout } = await run('losetup', ['-j', file]);
    if (stdout === '') return;
    if (performance.now() > deadlineMs) throw new Error(`${file} is still in use: ${stdout}`);
    await pause(20);
  }
}

export async function failingDisk(): Promise<FailingDisk> {
  const mount = (directory: string, state: string) =>
    run('mount', ['-o', 'loop,errors=remount-ro', join(directory, 'disk'), state]);
  const disk = await mounted(async (directory, state) => {
    await run('truncate', ['-s', '256M', join(directory, 'disk')]);
    await run('mkfs.ext4', ['-q', join(directory, 'disk')]);
    await mount(directory, state);
  });
  const state = join(disk.directory, 'state');
  return {
    ...disk,
    async fail() {
      // What was put there before the test is on the disk when it fails.
      await run('sync', ['-f', state]);
      await run('mount', ['-o', 'remount,abort', state]);
    },
    async repair() {
      await run('umount', [state]);
      await released(join(disk.directory, 'disk'));
      await run('e2fsck', ['-p', join(disk.directory, 'disk')]).catch((error: { code?: unknown }) => {
        // e2fsck(8): errors were found, and corrected.
        if (error.code !== 1) throw error;
      });
      await mount(disk.directory, state);
    },
  };
}
