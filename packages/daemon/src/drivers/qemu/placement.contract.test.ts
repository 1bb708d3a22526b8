// That a real QEMU, and the kernel, do as a placement says: nodes and where their memory is, huge pages, and the processors of each thread.
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Guest, LaunchPlan, PlannedDisk } from '@wirt/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createQemuContractHarness } from './contract-harness.fixture.ts';

const never = new AbortController().signal;
let harness: Awaited<ReturnType<typeof createQemuContractHarness>>;

beforeEach(async () => {
  harness = await createQemuContractHarness();
});
afterEach(() => harness[Symbol.asyncDispose]());

function launch(more: Partial<LaunchPlan>): Promise<Guest> {
  const plan = { ...harness.plan(), ...more };
  return harness.open().launch(plan, harness.confinement, { signal: never, onStep: async () => {} });
}

interface Answer {
  readonly return?: unknown;
}

/** Asks QEMU itself, past wirtd, who lets go of it. */
async function ask(guest: Guest, ...commands: string[]): Promise<unknown[]> {
  guest.detach();
  const socket = connect(join(harness.directory, 'run', 'instances', guest.id, 'qmp.sock'));
  // A deadline, and no sleep.
  socket.setTimeout(10_000, () => socket.destroy(new Error('QEMU does not answer.')));
  try {
    await once(socket, 'connect');
    const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
    for (const command of ['qmp_capabilities', ...commands])
      socket.write(JSON.stringify({ execute: command }));
    const answers: unknown[] = [];
    while (answers.length <= commands.length) {
      const { value, done } = await lines.next();
      if (done === true) throw new Error('QEMU has hung up.');
      // QMP's own form: an answer, the greeting, or an event.
      const answer = JSON.parse(value) as Answer;
      if ('error' in answer) throw new Error(value);
      if (answer.return !== undefined) answers.push(answer.return);
    }
    return answers.slice(1);
  } finally {
    socket.destroy();
  }
}

const twoNodes = {
  nodes: [
    { memoryMib: 32, vcpus: [0, 1], hostNode: 0, distances: [10, 21] },
    { memoryMib: 32, vcpus: [2, 3], hostNode: 0, distances: [21, 10] },
  ],
  topology: { sockets: 2, cores: 1, threads: 2 },
} as const satisfies LaunchPlan['placement'];

describe('a guest with two nodes', () => {
  it('has memory of each bound to the node of the host, and the vCPUs of each', async () => {
    const guest = await launch({ cpus: 4, maxCpus: 4, memoryMib: 64, maxMemoryMib: 64, placement: twoNodes });
    const [memory, cpus] = await ask(guest, 'query-memdev', 'query-cpus-fast');
    const bound = { size: 32 * 2 ** 20, policy: 'preferred', 'host-nodes': [0], share: true };
    expect(memory).toHaveLength(2);
    expect(memory).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ id: 'node0', ...bound }),
        expect.objectContaining({ id: 'node1', ...bound }),
      ]),
    );
    const place = (node: number, socket: number, thread: number) =>
      expect.objectContaining({
        props: expect.objectContaining({ 'node-id': node, 'socket-id': socket, 'thread-id': thread }),
      });
    expect(cpus).toEqual([place(0, 0, 0), place(0, 0, 1), place(1, 1, 0), place(1, 1, 1)]);
  });

  it('can have one of them without vCPUs', async () => {
    const [first, second] = twoNodes.nodes;
    const nodes = [
      { ...first, vcpus: [0, 1, 2, 3] },
      { ...second, vcpus: [] },
    ];
    const placement = { ...twoNodes, nodes };
    const guest = await launch({ cpus: 4, maxCpus: 4, memoryMib: 64, maxMemoryMib: 64, placement });
    const [cpus] = await ask(guest, 'query-cpus-fast');
    expect(cpus).toEqual(
      Array.from({ length: 4 }, () =>
        expect.objectContaining({ props: expect.objectContaining({ 'node-id': 0 }) }),
      ),
    );
  });
});

describe('a guest of huge pages', () => {
  const placement = (pageSizeKib: number) =>
    ({
      nodes: [{ memoryMib: 1024, vcpus: [0], distances: [10] }],
      topology: { sockets: 1, cores: 1, threads: 1 },
      pageSizeKib,
    }) satisfies LaunchPlan['placement'];

  it.for([2048, 1_048_576])(
    'of %i KiB is refused by name where the host has none',
    async (sizeKib, { skip }) => {
      const pool = `/sys/kernel/mm/hugepages/hugepages-${sizeKib}kB`;
      const free = await readFile(`${pool}/free_hugepages`, 'latin1').catch(() => undefined);
      const surplus = await readFile(`${pool}/nr_overcommit_hugepages`, 'latin1').catch(() => '');
      if (free === undefined) skip('the kernel has no pages of this size');
      if (Number(free) * sizeKib >= 2 ** 20 || surplus.trim() !== '0') skip('the host has such pages');
      const started = launch({ memoryMib: 1024, maxMemoryMib: 1024, placement: placement(sizeKib) });
      await expect(started).rejects.toMatchObject({
        code: 'host.insufficient_huge_pages',
        details: { sizeKib },
        cause: { message: expect.stringContaining('Cannot allocate memory') },
      });
    },
  );
});

/** By name of the thread, as QEMU's debug-threads has it, where its threads may run. */
async function allowed({ process }: Guest): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  for (const thread of await readdir(`/proc/${process.pid}/task`)) {
    const status = await readFile(`/proc/${process.pid}/task/${thread}/status`, 'latin1').catch(
      () => undefined,
    );
    if (status === undefined) continue;
    const [, name = ''] = /^Name:\t(.*)$/m.exec(status) ?? [];
    const [, cpus = ''] = /^Cpus_allowed_list:\t(.*)$/m.exec(status) ?? [];
    const key = Number(thread) === process.pid ? 'main' : name;
    found.set(key, [...(found.get(key) ?? []), cpus]);
  }
  return found;
}

// On one processor there is nowhere else to be.
describe.skipIf(availableParallelism() < 2)(
  'the threads of a guest, on a host of two processors or more',
  () => {
    const vcpu = (number: number): string => `CPU ${number}/TCG`;

    it('run where they are told: vCPUs, iothreads, and all others', async () => {
      const root = await harness.disks.makeBootLayer();
      const disk: PlannedDisk = {
        name: 'root',
        serial: 'root',
        slot: 0,
        device: 'disk',
        bus: 'virtio',
        readOnly: false,
        bootIndex: 1,
        source: { layers: [root] },
      };
      const guest = await launch({ cpus: 2, maxCpus: 2, disks: [disk] });
      const pins = { group: [0, 1], vcpus: { 0: [0], 1: [1] }, emulator: [1], iothreads: [0] };
      await guest.tuning.pin(pins, never);
      const threads = await allowed(guest);
      expect(threads.get(vcpu(0))).toEqual(['0']);
      expect(threads.get(vcpu(1))).toEqual(['1']);
      expect(threads.get('main')).toEqual(['1']);
      // The monitor's own is of the emulator.
      const iothreads = [...threads].filter(([name]) => /^IO (?!mon_)/.test(name));
      expect(iothreads.map(([, cpus]) => cpus)).toEqual([['0']]);
      // Of a disk that is plugged in later, too.
      const source = { layers: [await harness.disks.makeLayer()] };
      const { bootIndex: _first, ...plain } = disk;
      await guest.disks.attach({ ...plain, name: 'data', serial: 'data', slot: 1, source }, never);
      const later = [...(await allowed(guest))].filter(([name]) => name === 'IO io-data');
      expect(later).toEqual([['IO io-data', ['0']]]);
      await guest.tuning.pin({ group: [0], vcpus: {} }, never);
      expect(new Set([...(await allowed(guest)).values()].flat())).toEqual(new Set(['0']));
    });

    it('run anywhere in the group where nothing else is said of them', async () => {
      const guest = await launch({ cpus: 2, maxCpus: 2 });
      await guest.tuning.pin({ group: [0, 1], vcpus: { 1: [0] } }, never);
      const threads = await allowed(guest);
      expect(threads.get(vcpu(0))).toEqual(['0-1']);
      expect(threads.get(vcpu(1))).toEqual(['0']);
      expect(threads.get('main')).toEqual(['0-1']);
    });

    it('of a vCPU that is plugged in later run where it was told before', async () => {
      const guest = await launch({ cpus: 1, maxCpus: 2 });
      await guest.tuning.pin({ group: [0, 1], vcpus: { 0: [0], 1: [1] }, emulator: [0] }, never);
      await guest.resume(never);
      expect(await guest.tuning.resizeVcpus(2, AbortSignal.timeout(20_000))).toEqual({ plugged: 2, max: 2 });
      const threads = await allowed(guest);
      expect(threads.get(vcpu(0))).toEqual(['0']);
      expect(threads.get(vcpu(1))).toEqual(['1']);
      expect(threads.get('main')).toEqual(['0']);
    });

    it('are not pinned to a processor that is not there, and the reason is given', async () => {
      const guest = await launch({});
      const pinned = guest.tuning.pin({ group: [8191], vcpus: {} }, never);
      await expect(pinned).rejects.toMatchObject({ code: 'limit.failed' });
    });
  },
);
