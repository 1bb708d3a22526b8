// That a real QEMU spreads the queues of a disk over several threads: at the start and live, held to limits, across a snapshot, and
// until they are gone again. WIRT_TEST_QEMU names one that can, where the host's own cannot.
import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Guest, type LaunchPlan, type PlannedDisk, spreading } from '@wirt/core';
import { connectQmp } from '@wirt/qemu';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createQemuContractHarness } from './contract-harness.fixture.ts';
import { linuxKernel } from './linux-guest.fixture.ts';

const run = promisify(execFile);
const never = new AbortController().signal;
const qemuBinary = process.env['WIRT_TEST_QEMU'] ?? 'qemu-system-x86_64';
const mib = 1024 * 1024;
/** Linux under TCG with eight vCPUs, on a host of two processors. */
const guestMs = 60_000;

let harness: Awaited<ReturnType<typeof createQemuContractHarness>>;
beforeEach(async () => {
  harness = await createQemuContractHarness();
});
afterEach(() => harness[Symbol.asyncDispose]());

/** Why this QEMU cannot show it; undefined where it can. */
async function lack(): Promise<string | undefined> {
  const words = (...args: string[]): Promise<string> =>
    run(qemuBinary, args).then(
      ({ stdout }) => stdout,
      () => '',
    );
  const mapsQueues = (await words('-device', 'virtio-blk-pci,help')).includes('iothread-vq-mapping');
  const version = /version (\S+)/.exec(await words('--version'))?.[1] ?? '';
  const ability = spreading({ version, mapsQueues });
  return ability === 'yes'
    ? undefined
    : `QEMU ${version} does not spread queues (${ability}); see WIRT_TEST_QEMU`;
}

/** By name of the thread, where it may run. */
async function diskThreads({ process }: Guest): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const thread of await readdir(`/proc/${process.pid}/task`)) {
    const status = await readFile(`/proc/${process.pid}/task/${thread}/status`, 'latin1').catch(() => '');
    const name = /^Name:\t(IO io-.*)$/m.exec(status)?.[1];
    const cpus = /^Cpus_allowed_list:\t(.*)$/m.exec(status)?.[1];
    if (name !== undefined && cpus !== undefined) found.set(name, cpus);
  }
  return found;
}

/** Whether each has worked: jiffies of its own. */
async function busyThreads({ process }: Guest, prefix: string): Promise<string[]> {
  const busy: string[] = [];
  for (const thread of await readdir(`/proc/${process.pid}/task`)) {
    const [status, io] = await Promise.all(
      ['comm', 'schedstat'].map((file) => readFile(`/proc/${process.pid}/task/${thread}/${file}`, 'latin1')),
    );
    // Number of times that it ran.
    if (status?.startsWith(`IO ${prefix}`) && Number(io?.split(' ')[2]) > 20) busy.push(status.trim());
  }
  return busy.toSorted();
}

async function layered(name: string, slot: number): Promise<PlannedDisk> {
  const source = { layers: [await harness.disks.makeLayer({ sizeBytes: 64 * mib })] };
  return { name, serial: name, slot, device: 'disk', bus: 'virtio', readOnly: false, source };
}

function start(plan: LaunchPlan, hypervisor = harness.open({ qemuBinary })): Promise<Guest> {
  return hypervisor.launch(plan, harness.confinement, { signal: never, onStep: async () => {} });
}

async function sh(guest: Guest, line: string): Promise<string> {
  const argv = ['/bin/sh', '-c', line];
  const result = await guest.agent.exec({ argv, timeoutSeconds: 50 }, AbortSignal.timeout(guestMs));
  const [stdout, stderr] = [result.stdout, result.stderr].map((text) =>
    Buffer.from(text, 'base64').toString(),
  );
  expect(result.exitCode, `${stdout}${stderr}`).toBe(0);
  return stdout ?? '';
}

async function agent(guest: Guest): Promise<void> {
  if (guest.state.agent) return;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const deadline = AbortSignal.timeout(guestMs);
  deadline.addEventListener('abort', () => reject(deadline.reason), { once: true });
  const stop = guest.listen((event) => {
    if (event.kind === 'agent' && event.answers) resolve();
  });
  await promise.finally(stop);
}

/** Eight writers, one on each vCPU and so on each queue, 1 MiB each; then all is read back. */
const work = (disk: string): string =>
  `for i in 0 1 2 3 4 5 6 7; do taskset -c $i dd if=/dev/zero of=${disk} bs=16k count=64 seek=$((i*64)) oflag=direct 2>/dev/null & done; wait; ` +
  `dd if=${disk} of=/dev/null bs=1M count=8 iflag=direct`;

it('threads of a disk that a daemon has died over are gone with the next change, whatever QEMU', async () => {
  const hypervisor = harness.open();
  const first = await start(harness.plan(), hypervisor);
  first.detach();
  const path = join(harness.directory, 'run', 'instances', first.id, 'qmp.sock');
  const connection = await connectQmp({ path, onEvent: () => {}, timeoutMs: 10_000 });
  for (const id of ['io-gone', 'io-gone.1', 'io-gone.2'])
    await connection.execute('object-add', { 'qom-type': 'iothread', id }, { timeoutMs: 10_000 });
  await connection.close();
  const guest = await hypervisor.attach(first, never);
  expect((await diskThreads(guest)).size).toBe(3);
  await guest.disks.attach(await layered('data', 1), never);
  expect([...(await diskThreads(guest)).keys()]).toEqual(['IO io-data']);
  await guest.kill(never);
});

describe('the queues of a disk', () => {
  it('are on several threads, at the start and live, under limits and across a snapshot', async ({
    skip,
  }) => {
    const missing = await lack();
    if (missing !== undefined) skip(missing);
    const linux = await linuxKernel(harness.directory);
    if ('missing' in linux) skip(linux.missing);
    const root = await layered('root', 0);
    const sizes = { cpus: 8, maxCpus: 8, memoryMib: 256, maxMemoryMib: 256 };
    const guest = await start({ ...harness.plan(), ...linux, ...sizes, diskIothreads: 2, disks: [root] });
    expect([...(await diskThreads(guest)).keys()].toSorted()).toEqual(['IO io-root', 'IO io-root.1']);
    await guest.resume(never);
    await agent(guest);
    await guest.tuning.throttle(
      { all: { totalBytes: { rate: 8 * mib } }, each: { root: { totalOperations: { rate: 400 } } } },
      never,
    );
    await sh(guest, work('/dev/vda'));
    expect(await busyThreads(guest, 'io-root')).toEqual(['IO io-root', 'IO io-root.1']);

    const pinned = availableParallelism() > 1 ? '1' : '0';
    await guest.tuning.pin({ group: [0], vcpus: {}, iothreads: [Number(pinned)] }, never);
    const data = await layered('data', 1);
    await guest.disks.attach(data, never);
    const all = ['IO io-data', 'IO io-data.1', 'IO io-root', 'IO io-root.1'];
    expect(await diskThreads(guest)).toEqual(new Map(all.map((name) => [name, pinned])));
    await sh(guest, 'for i in 1 2 3 4 5 6 7 8 9; do [ -b /dev/vdb ] && break; sleep 1; done');
    await sh(guest, work('/dev/vdb'));

    const overlay = await harness.disks.makeLayer({ sizeBytes: 64 * mib });
    const writing = sh(guest, `${work('/dev/vda')}; ${work('/dev/vda')}`);
    await guest.disks.overlay([{ disk: 'root', layer: overlay }], never);
    await writing;
    expect((await guest.disks.chains(never)).get('root')).toHaveLength(2);

    await guest.disks.detach('data', AbortSignal.timeout(guestMs));
    expect([...(await diskThreads(guest)).keys()].toSorted()).toEqual(['IO io-root', 'IO io-root.1']);
    await guest.kill(never);
    await harness.disks.check(overlay);
  }, 240_000);

  it('leave no thread behind when the disk cannot be plugged in', async ({ skip }) => {
    const missing = await lack();
    if (missing !== undefined) skip(missing);
    const guest = await start({ ...harness.plan(), cpus: 8, maxCpus: 8 });
    await expect(guest.disks.attach(await layered('far', 40), never)).rejects.toMatchObject({
      code: 'instance.state_conflict',
    });
    expect([...(await diskThreads(guest)).keys()]).toEqual([]);
    await guest.disks.attach(await layered('near', 1), never);
    expect([...(await diskThreads(guest)).keys()].toSorted()).toEqual(['IO io-near', 'IO io-near.1']);
    await guest.kill(never);
  });
});
