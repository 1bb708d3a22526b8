// How long the planner takes for a decision on the largest host it is promised for, with 2,000 guests there already; in a process of its own, which
// tells it as JSON. Warmed up first, as wirtd is after some starts; `firstMs` is what it takes before that. The host is read before each decision, as wirtd
// reads it, from files like the kernel's: what the planner keeps between two decisions is what it can keep there too.
import { type Holding, planPlacement } from '@wirt/core';
import { filesOfMachine, type Machine, regularMachine } from './drivers/topology/machine.fixture.ts';
import { createTopologyReader } from './drivers/topology/topology.ts';
import { filesOf, removeFiles } from './platform/host-files.fixture.ts';

const nodes = 64;
const cpusOfNode = 64;
const guests = 2_000;
const memoryMib = 1_048_576;
const rounds = 101;

function largest(): Machine {
  const machine = regularMachine({
    sockets: nodes / 2,
    diesPerSocket: 2,
    diesPerNode: 1,
    coresPerDie: cpusOfNode,
    threads: 1,
    memoryMib,
    hugePages: [{ sizeKib: 2048, total: 4096, free: 4096 }],
  });
  const distance = (a: number, b: number): number => (a === b ? 10 : a >> 3 === b >> 3 ? 16 : 32);
  return { ...machine, distance };
}

const holdings: Holding[] = Array.from({ length: guests }, (_, number) => {
  const node = (number * 7) % nodes;
  return { name: `guest-${number}`, dedicated: [], vcpus: 2, nodes: [node], memoryMib: { [node]: 8192 } };
});

const asked = {
  name: 'new',
  placement: 'auto',
  dedicated: false,
  pins: { vcpus: {} },
  overcommit: false,
} as const;

const requests = {
  small: { ...asked, cpus: 4, maxCpus: 4, memoryMib: 16_384 },
  wide: { ...asked, cpus: 256, maxCpus: 256, memoryMib: 4_194_304 },
  dedicated: { ...asked, cpus: 32, maxCpus: 32, memoryMib: 65_536, dedicated: true },
  'on huge pages': { ...asked, cpus: 8, maxCpus: 8, memoryMib: 8192, pageSizeKib: 2048 },
  refused: { ...asked, cpus: 4, maxCpus: 4, memoryMib: 134_217_728 },
};

interface Told {
  readonly kind: string;
  readonly medianMs: number;
  readonly worstMs: number;
}

const reader = createTopologyReader(await filesOf(filesOfMachine(largest())));
const readMs: number[] = [];

const read = () => reader.read(AbortSignal.timeout(60_000));

async function decide(request: (typeof requests)[keyof typeof requests]) {
  const before = performance.now();
  const host = await read();
  const from = performance.now();
  const { kind } = planPlacement(request, { host, holdings });
  readMs.push(from - before);
  return { kind, ms: performance.now() - from, cpus: host.cpus.length };
}

function middleAndWorst(times: number[]): Omit<Told, 'kind'> {
  const inOrder = times.toSorted((a, b) => a - b);
  return { medianMs: inOrder[inOrder.length >> 1] ?? Number.NaN, worstMs: inOrder.at(-1) ?? Number.NaN };
}

try {
  const first = await decide(requests.small);
  const told: Record<string, Told> = {};
  for (const [name, request] of Object.entries(requests)) {
    const host = await read();
    for (let round = 0; round < rounds; round += 1) planPlacement(request, { host, holdings });
    const times: number[] = [];
    for (let round = 0; round < rounds; round += 1) times.push((await decide(request)).ms);
    told[name] = { kind: (await decide(request)).kind, ...middleAndWorst(times) };
  }
  const facts = {
    guests,
    cpus: first.cpus,
    nodes,
    firstMs: first.ms,
    reading: middleAndWorst(readMs.slice(1)),
  };
  process.stdout.write(`${JSON.stringify({ ...facts, told })}\n`);
} finally {
  await removeFiles();
}
