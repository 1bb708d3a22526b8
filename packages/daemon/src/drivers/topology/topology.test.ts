import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { filesOf, makeRoot, removeFiles, writeTable } from '../../platform/host-files.fixture.ts';
import { createHostFiles, type HostFiles } from '../../platform/host-files.ts';
import {
  type CpuShape,
  filesOfMachine,
  type Machine,
  regularMachine,
  topologyOfMachine,
} from './machine.fixture.ts';
import { createTopologyReader, readTopology } from './topology.ts';

afterEach(removeFiles);
const signal = (): AbortSignal => AbortSignal.timeout(10_000);
const read = async (table: Record<string, string>) => readTopology(await filesOf(table), signal());

async function readsAsWritten(machine: Machine) {
  const topology = await read(filesOfMachine(machine));
  expect(topology).toEqual(topologyOfMachine(machine));
  return topology;
}

const small = regularMachine({
  sockets: 1,
  diesPerSocket: 1,
  coresPerDie: 2,
  threads: 1,
  diesPerNode: 1,
  memoryMib: 24_000,
  hugePages: [
    { sizeKib: 2048, total: 512, free: 100 },
    { sizeKib: 1_048_576, total: 2, free: 0 },
  ],
});
/** Eight nodes of 32 threads, four to a socket; as EPYCs in the mode of four nodes. */
const eightNodes = regularMachine({
  sockets: 2,
  diesPerSocket: 4,
  coresPerDie: 16,
  threads: 2,
  diesPerNode: 1,
  memoryMib: 64_500,
});
/** The same with 32 threads: fewer files. */
const eightSmall = regularMachine({
  sockets: 2,
  diesPerSocket: 4,
  coresPerDie: 2,
  threads: 2,
  diesPerNode: 1,
  memoryMib: 64_500,
});

describe('the topology of a host', () => {
  it('of one node and two processors', async () => {
    expect(await readsAsWritten(small)).toMatchObject({
      cpus: [
        { id: 0, node: 0, socket: 0, core: 0 },
        { id: 1, node: 0, socket: 0, core: 1 },
      ],
      nodes: [{ id: 0, totalMib: 24_000, distances: { 0: 10 } }],
    });
  });

  it('of eight nodes and 256 threads, two to a core, whose numbers are apart', async () => {
    const { cpus, nodes } = await readsAsWritten(eightNodes);
    expect(cpus).toHaveLength(256);
    expect(new Set(cpus.map(({ core }) => core)).size).toBe(128);
    expect(cpus[128]).toEqual({ ...cpus[0], id: 128 });
    expect(nodes[0]?.distances).toEqual({ 0: 10, 1: 12, 2: 12, 3: 12, 4: 32, 5: 32, 6: 32, 7: 32 });
  });

  it('with cores of two kinds: numbers of cores have gaps, and only some have two threads', async () => {
    const fast = [0, 4, 8].map((coreId, at) => ({ coreId, siblings: [2 * at, 2 * at + 1] }));
    const slow = [24, 25, 26, 27].map((coreId, at) => ({ coreId, siblings: [6 + at] }));
    const cpus: CpuShape[] = [...fast, ...slow].flatMap((core) =>
      core.siblings.map((id) => ({ id, socket: 0, die: 0, node: 0, ...core })),
    );
    const topology = await readsAsWritten({ ...small, cpus });
    expect(topology.cpus.map(({ core }) => core)).toEqual([0, 0, 1, 1, 2, 2, 3, 4, 5, 6]);
  });

  it('with a node that has memory only, whose number is far from the others', async () => {
    const topology = await readsAsWritten({
      ...small,
      nodes: [...small.nodes, { id: 7, totalMib: 2048, freeMib: 2000 }],
      distance: (from, to) => (from === to ? 10 : 31),
    });
    expect(topology.nodes.map(({ id, distances }) => [id, distances])).toEqual([
      [0, { 0: 10, 7: 31 }],
      [7, { 0: 31, 7: 10 }],
    ]);
  });

  it('without processor 0 and node 0, which are offline', async () => {
    const machine: Machine = {
      cpus: eightSmall.cpus.map((cpu) => ({ ...cpu, online: cpu.node !== 0 && cpu.id !== 2 })),
      nodes: eightSmall.nodes.map((node) => ({ ...node, online: node.id !== 0 })),
      distance: eightSmall.distance,
    };
    const { cpus, nodes } = await readsAsWritten(machine);
    expect([cpus.length, cpus[0]?.id, nodes[0]?.id]).toEqual([27, 3, 1]);
    expect(nodes[0]?.distances).not.toHaveProperty('0');
  });

  it('without a node that is offline and whose files are there still', async () => {
    const files = filesOfMachine(eightSmall);
    files['/sys/devices/system/node/online'] = '0-2,4-7\n';
    expect((await read(files)).nodes.map(({ id }) => id)).toEqual([0, 1, 2, 4, 5, 6, 7]);
  });

  it('counts a processor whose node is offline to a node of its socket, or to the first', async () => {
    const files = filesOfMachine({
      ...eightSmall,
      nodes: eightSmall.nodes.map((node) => ({ ...node, online: node.id === 5 || node.id === 1 })),
    });
    const { cpus } = await read(files);
    expect([0, 4].map((node) => cpus[node * 2]?.node)).toEqual([1, 5]);
    const without = filesOfMachine({
      ...eightSmall,
      nodes: eightSmall.nodes.map((node) => ({ ...node, online: node.id === 5 })),
    });
    expect((await read(without)).cpus[0]?.node).toBe(5);
  });

  it('of a kernel without NUMA is one node of all, with the pools of the host', async () => {
    await readsAsWritten({ ...small, numa: false });
  });

  it('of a kernel without files for it is what there is', async () => {
    expect(await read({})).toEqual({
      cpus: [],
      nodes: [{ id: 0, totalMib: 0, freeMib: 0, distances: { 0: 10 }, hugePages: [] }],
    });
  });

  it('takes threads for one core where the firmware numbers no cores and no sockets', async () => {
    const unnumbered = { socket: undefined, coreId: undefined, node: 0 };
    const cpus = [
      [0, 2],
      [1, 3],
    ].flatMap((siblings) => siblings.map((id) => ({ id, siblings, ...unnumbered })));
    const topology = await readsAsWritten({ ...small, cpus });
    expect(topology.cpus.map(({ core, socket }) => [core, socket])).toEqual([
      [0, 0],
      [1, 0],
      [0, 0],
      [1, 0],
    ]);
  });

  it('leaves out what goes while it is read', async () => {
    const files = filesOfMachine(eightSmall);
    // In the lists, and then gone.
    for (const path of Object.keys(files)) if (/\/(cpu12|node3)\//.test(path)) delete files[path];
    files['/sys/devices/system/node/node3/'] = '';
    const { cpus, nodes } = await read(files);
    expect(cpus.map(({ id }) => id)).not.toContain(12);
    expect(nodes.map(({ id }) => id)).toEqual([0, 1, 2, 4, 5, 6, 7]);
  });

  it('says that distances are not known rather than wrong ones', async () => {
    const files = filesOfMachine(eightSmall);
    files['/sys/devices/system/node/node2/distance'] = '12 12 10\n';
    expect((await read(files)).nodes[2]?.distances).toEqual({});
  });

  it('gives up when told to', async () => {
    const giveUp = AbortSignal.abort(new Error('enough'));
    await expect(readTopology(createHostFiles(), giveUp)).rejects.toThrow('enough');
  });
});

describe('what was read', () => {
  it('of processors is kept until others are online; memory is read each time', async () => {
    const root = await makeRoot();
    writeTable(root, filesOfMachine(small));
    const asked: string[] = [];
    const plain = createHostFiles(root);
    const files: HostFiles = {
      ...plain,
      number(path) {
        asked.push(path);
        return plain.number(path);
      },
    };
    const seats = (): number => asked.splice(0).filter((path) => path.includes('/topology/')).length;
    const reader = createTopologyReader(files);
    expect(await reader.read(signal())).toEqual(topologyOfMachine(small));
    expect(seats()).toBe(6);
    const node = '/sys/devices/system/node/node0';
    await writeFile(join(root, node, 'meminfo'), 'Node 0 MemTotal: 2048 kB\nNode 0 MemFree: 1024 kB\n');
    expect((await reader.read(signal())).nodes[0]).toMatchObject({ totalMib: 2, freeMib: 1 });
    expect(seats()).toBe(0);
    await rm(join(root, '/sys/devices/system/cpu/cpu1'), { recursive: true });
    await writeFile(join(root, '/sys/devices/system/cpu/online'), '0\n');
    expect((await reader.read(signal())).cpus.map(({ id }) => id)).toEqual([0]);
  });
});

describe('the list of processors', () => {
  const node = (id: number): string => `/sys/devices/system/node/node${id}`;
  /** A reader of files that can be written anew, and where. */
  async function changing(machine: Machine) {
    const root = await makeRoot();
    writeTable(root, filesOfMachine(machine));
    const reader = createTopologyReader(createHostFiles(root));
    const write = (path: string, text: string): Promise<void> => writeFile(join(root, path), text);
    return { write, cpus: async () => (await reader.read(signal())).cpus };
  }

  it('is the very same at each reading, whatever became of the memory meanwhile', async () => {
    const { write, cpus } = await changing(eightSmall);
    const first = await cpus();
    expect(await cpus()).toBe(first);
    await write(`${node(0)}/meminfo`, 'Node 0 MemTotal: 2048 kB\nNode 0 MemFree: 1024 kB\n');
    await write(`${node(1)}/distance`, '12 10 14 14 32 32 32 32\n');
    expect(await cpus()).toBe(first);
  });

  it('is the very same for those who ask at the same time', async () => {
    const { cpus } = await changing(eightSmall);
    const [first, second] = await Promise.all([cpus(), cpus()]);
    expect(second).toBe(first);
  });

  it('is another when a processor goes, and again when it comes back', async () => {
    const { write, cpus } = await changing(small);
    const both = await cpus();
    await write('/sys/devices/system/cpu/online', '0\n');
    await write(`${node(0)}/cpulist`, '0\n');
    const one = await cpus();
    expect(one).not.toBe(both);
    expect(one.map(({ id }) => id)).toEqual([0]);
    expect(await cpus()).toBe(one);
    await write('/sys/devices/system/cpu/online', '0-1\n');
    await write(`${node(0)}/cpulist`, '0-1\n');
    expect(await cpus()).toEqual(both);
  });

  it('is another when a processor is counted to another node', async () => {
    const { write, cpus } = await changing(eightSmall);
    const before = await cpus();
    await write(`${node(0)}/cpulist`, '0-1\n');
    await write(`${node(1)}/cpulist`, '2-3,16-19\n');
    const after = await cpus();
    expect(after).not.toBe(before);
    expect(after.find(({ id }) => id === 16)?.node).toBe(1);
  });

  it('is the very same when a node without processors comes', async () => {
    const { write, cpus } = await changing({
      ...small,
      nodes: [...small.nodes, { id: 7, totalMib: 2048, freeMib: 2000 }],
    });
    await write('/sys/devices/system/node/online', '0\n');
    const before = await cpus();
    await write('/sys/devices/system/node/online', '0,7\n');
    expect(await cpus()).toBe(before);
  });
});

const pools = fc.uniqueArray(
  fc.record({
    sizeKib: fc.constantFrom(64, 2048, 32_768, 1_048_576),
    total: fc.nat(9999),
    free: fc.nat(9999),
  }),
  { selector: ({ sizeKib }) => sizeKib, maxLength: 4 },
);
const mib = fc.integer({ min: 0, max: 2_000_000 });

/** Any number of sockets, dies and cores with one to four threads, on any nodes, numbered at random. */
const machines: fc.Arbitrary<Machine> = fc
  .record({
    nodes: fc.uniqueArray(
      fc.record({ id: fc.nat(63), totalMib: mib, freeMib: mib, hugePages: pools, online: fc.boolean() }),
      { selector: ({ id }) => id, minLength: 1, maxLength: 6 },
    ),
    cores: fc.uniqueArray(
      fc.record({
        socket: fc.nat(3),
        die: fc.nat(2),
        coreId: fc.nat(40),
        threads: fc.integer({ min: 1, max: 4 }),
        node: fc.nat(5),
      }),
      { selector: ({ socket, die, coreId }) => `${socket}.${die}.${coreId}`, minLength: 1, maxLength: 12 },
    ),
    ids: fc.uniqueArray(fc.nat(4095), { minLength: 48, maxLength: 48 }),
    offline: fc.array(fc.boolean(), { minLength: 48, maxLength: 48 }),
    far: fc.integer({ min: 11, max: 254 }),
  })
  .map(({ nodes: drawn, cores, ids, offline, far }) => {
    // One at least is online.
    const nodes = drawn.map((node, at) => (at === 0 ? { ...node, online: true } : node));
    const online = nodes.filter((node) => node.online);
    let next = 0;
    const cpus = cores.flatMap(({ threads, node, ...seat }): CpuShape[] => {
      const siblings = ids.slice(next, next + threads);
      next += threads;
      const at = online[node % online.length]?.id ?? 0;
      return siblings.map((id) => ({ id, ...seat, siblings, node: at, online: !offline[ids.indexOf(id)] }));
    });
    const someOnline = cpus.map((cpu, at) => (at === 0 ? { ...cpu, online: true } : cpu));
    return { nodes, cpus: someOnline, distance: (from, to) => (from === to ? 10 : far + ((from + to) % 3)) };
  });

describe('of any machine', () => {
  it('is read what there is', async () => {
    await fc.assert(
      fc.asyncProperty(machines, async (machine) => {
        await readsAsWritten(machine);
      }),
      { numRuns: 30 },
    );
  });
});
