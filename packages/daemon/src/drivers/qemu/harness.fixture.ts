// For tests: a hypervisor on directories of its own, guests that boot the tiny kernel, and the removal of all of it.
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Confinement, type Hypervisor, type Identity, type LaunchPlan, uuidOf } from '@wirt/core';
import { createMemoryFiles } from './memory-files.ts';
import { createQemuHypervisor } from './qemu.ts';
import { silentLogger } from './silent-logger.fixture.ts';
import { tinyKernel } from './tiny-kernel.fixture.ts';

export const isRoot = process.geteuid?.() === 0;

export const ownIdentity: Identity = {
  uid: process.getuid?.() ?? 0,
  gid: process.getgid?.() ?? 0,
  groups: [],
  own: false,
};

/** As root a uid that nobody has; as an ordinary user the own one. */
export const guestIdentity: Identity = isRoot
  ? { uid: 987_654, gid: 987_654, groups: [], own: true }
  : ownIdentity;

export interface QemuHarness extends AsyncDisposable {
  readonly directory: string;
  readonly tag: string;
  readonly confinement: Confinement;
  open(options?: { readonly qemuBinary?: string; readonly vsockDevice?: string }): Hypervisor;
  plan(): LaunchPlan;
  processes(id: string): Promise<number[]>;
  /** As the end of a daemon does. */
  forgetMemoryFiles(): Promise<void>;
  /** Ends every guest. */
  end(): Promise<void>;
}

let count = 0;

export async function createQemuHarness(): Promise<QemuHarness> {
  const directory = await mkdtemp(join(tmpdir(), 'wirt-qemu-'));
  // A guest under its own uid must get at its kernel; the run and state directories stay the daemon's own.
  await chmod(directory, 0o755);
  const images = join(directory, 'images');
  await mkdir(images);
  const [kernel, initrd] = [join(images, 'kernel'), join(images, 'initrd')];
  await writeFile(kernel, tinyKernel());
  await writeFile(initrd, 'nothing');
  count += 1;
  const tag = `t${process.pid}x${count}`;
  const launched: string[] = [];
  const runDirectory = join(directory, 'run');
  const memoryFiles = createMemoryFiles({ runDirectory, logger: silentLogger });
  const end = async (): Promise<void> => {
    for (const id of launched) for (const pid of await processes(id)) kill(pid);
  };

  return {
    directory,
    tag,
    confinement: { identity: guestIdentity, controlGroup: { joinFiles: [] } },
    open: ({ qemuBinary = 'qemu-system-x86_64', ...more } = {}) =>
      createQemuHypervisor({
        stateDirectory: join(directory, 'state'),
        runDirectory,
        tag,
        qemuBinary,
        logger: silentLogger,
        memoryFiles,
        ...more,
      }),
    plan() {
      count += 1;
      const id = `01K${String(process.pid).padStart(8, '0')}${String(count).padStart(15, '0')}`;
      launched.push(id);
      return {
        id,
        uuid: uuidOf(id),
        generation: '01980000-0000-0000-0000-000000000002',
        machine: 'q35',
        accelerator: 'tcg',
        cpuModel: 'max',
        cpus: 1,
        maxCpus: 1,
        memoryMib: 32,
        maxMemoryMib: 32,
        freePageReporting: false,
        nics: [
          {
            name: 'nic0',
            slot: 0,
            model: 'virtio',
            mac: '02:00:00:00:00:01',
            mtu: 1500,
            backend: { type: 'user', hostname: 'tiny', forwards: [] },
          },
        ],
        disks: [],
        firmware: { kind: 'bios' },
        kernel: { kernel, initrd, kernelArgs: '' },
      };
    },
    processes,
    forgetMemoryFiles: async () => memoryFiles[Symbol.asyncDispose](),
    end,
    async [Symbol.asyncDispose]() {
      await end();
      await memoryFiles[Symbol.asyncDispose]();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** One ends with the other: what is gone by now is gone. */
function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Everything whose command line has the id; zombies have none. */
async function processes(id: string): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const found = await Promise.all(
    pids.map(async (pid) => (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).includes(id)),
  );
  return pids.filter((_pid, index) => found[index]);
}
