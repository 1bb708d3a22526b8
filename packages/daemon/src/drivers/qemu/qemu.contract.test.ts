import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Identity, LaunchPlan } from '@wirt/core';
import { uuidOf } from '@wirt/core';
import { type HypervisorHarness, hypervisorContract } from '@wirt/core/contract/hypervisor';
import { createQemuHypervisor } from './qemu.ts';
import { silentLogger } from './silent-logger.ts';
import { tinyKernel } from './tiny-kernel.ts';

const root = process.geteuid?.() === 0;

/** As root with a uid that nobody has; as an ordinary user with the own one. */
const identity: Identity = root
  ? { uid: 987_654, gid: 987_654, groups: [], own: true }
  : { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, groups: [], own: false };

let count = 0;

async function createHarness(): Promise<HypervisorHarness> {
  const directory = await mkdtemp(join(tmpdir(), 'wirt-qemu-'));
  const images = join(directory, 'images');
  await mkdir(images);
  // QEMU under its own uid must get at them; the run and state directories stay the daemon's own.
  await chmod(directory, 0o755);
  const kernel = join(images, 'kernel');
  const initrd = join(images, 'initrd');
  await writeFile(kernel, tinyKernel());
  await writeFile(initrd, 'nothing');
  const tag = `t${process.pid}x${(count += 1)}`;
  const launched: string[] = [];

  const plan = (): LaunchPlan => {
    const id = `01K${String(process.pid).padStart(8, '0')}${String((count += 1)).padStart(15, '0')}`;
    launched.push(id);
    return {
      id,
      uuid: uuidOf(id),
      machine: 'q35',
      accelerator: 'tcg',
      cpuModel: 'max',
      cpus: 1,
      memoryMib: 32,
      nics: [{ type: 'user', mac: '02:00:00:00:00:01', hostname: 'tiny' }],
      boot: { kernel, initrd, kernelArgs: '' },
    };
  };
  const filesOf = async (id: string): Promise<string[]> =>
    (await readdir(directory, { recursive: true })).filter((path) => path.includes(id));

  return {
    confinement: { identity, controlGroup: { joinFiles: [] } },
    open: () =>
      createQemuHypervisor({
        stateDirectory: join(directory, 'state'),
        runDirectory: join(directory, 'run'),
        tag,
        qemuBinary: 'qemu-system-x86_64',
        logger: silentLogger,
      }),
    plan,
    refusedPlan: () => ({ plan: { ...plan(), cpuModel: 'no-such-model' }, words: /no-such-model/ }),
    processes,
    filesOf,
    emptyRunDirectory: async (id) => rm(join(directory, 'run', 'instances', id), { recursive: true }),
    async [Symbol.asyncDispose]() {
      for (const id of launched) for (const pid of await processes(id)) process.kill(pid, 'SIGKILL');
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Everything whose command line has the id, zombies aside. */
async function processes(id: string): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const found = await Promise.all(
    pids.map(async (pid) => (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).includes(id)),
  );
  return pids.filter((_pid, index) => found[index]);
}

hypervisorContract('QEMU', createHarness);
