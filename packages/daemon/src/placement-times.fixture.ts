// How long the planner takes for a decision on the largest host it is promised for, with 2,000 guests there already; in a process of its own, which
// tells it as JSON. Warmed up first, as wirtd is after some starts.
import { type Holding, type HostTopology, planPlacement } from '@wirt/core';

const nodes = 64;
const cpusOfNode = 64;
const guests = 2_000;
const memoryMib = 1_048_576;
const rounds = 101;

function largest(): HostTopology {
  const ids = Array.from({ length: nodes }, (_, id) => id);
  const cpus = ids.flatMap((node) =>
    Array.from({ length: cpusOfNode }, (_, place) => {
      const id = node * cpusOfNode + place;
      return { id, node, socket: node >> 1, core: id >> 1 };
    }),
  );
  const distance = (a: number, b: number): number => (a === b ? 10 : a >> 3 === b >> 3 ? 16 : 32);
  return {
    cpus,
    nodes: ids.map((id) => ({
      id,
      totalMib: memoryMib,
      freeMib: memoryMib - 4096,
      distances: Object.fromEntries(ids.map((other) => [other, distance(id, other)])),
      hugePages: [{ sizeKib: 2048, total: 4096, free: 4096 }],
    })),
  };
}

const host = largest();
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

const told: Record<string, { kind: string; medianMs: number; worstMs: number }> = {};
for (const [name, request] of Object.entries(requests)) {
  const times: number[] = [];
  let kind = '';
  for (let round = 0; round < 2 * rounds; round += 1) {
    // As wirtd has it: nodes are read anew each time, processors are those of before.
    const ground = { host: { cpus: host.cpus, nodes: [...host.nodes] }, holdings };
    const from = performance.now();
    ({ kind } = planPlacement(request, ground));
    if (round >= rounds) times.push(performance.now() - from);
  }
  times.sort((a, b) => a - b);
  told[name] = { kind, medianMs: times[rounds >> 1] ?? Number.NaN, worstMs: times.at(-1) ?? Number.NaN };
}
process.stdout.write(`${JSON.stringify({ guests, cpus: host.cpus.length, nodes, told })}\n`);
