import { describe, expect, it } from 'vitest';
import { runWirt, startScriptedDaemon } from '../scripted-daemon.ts';

const gib = 2 ** 30;
const settings = { cpuOvercommit: 4, memoryOvercommit: 1, poolOvercommit: 1.2 };
const capacity = {
  settings,
  cpus: { online: 8, promisable: 26, promised: 10, dedicated: '2-3' },
  memory: {
    ...{ totalMib: 16_384, availableMib: 4096, promisableMib: 15_360 },
    ...{ promisedMib: 16_384, reservedMib: 1024, hugePagesMib: 1024 },
  },
  hugePages: [
    { node: 0, sizeKib: 2048, total: 512, free: 300, promised: 256 },
    { node: 0, sizeKib: 1_048_576, total: 0, free: 0, promised: 0 },
  ],
  pools: [
    {
      ...{ name: 'default', capacityBytes: 100 * gib, allocatedBytes: 10 * gib },
      ...{ promisableBytes: 120 * gib, promisedBytes: 150 * gib, runningBytes: 60 * gib },
    },
  ],
};

/** Nodes of 32 cores with two threads each: threads of a core as many processors apart as the host has cores. */
function largeHost(nodes: number, sockets: number) {
  const coresOfNode = 32;
  const cores = nodes * coresOfNode;
  const cpus = Array.from({ length: cores * 2 }, (_, cpu) => {
    const core = cpu % cores;
    const node = Math.floor(core / coresOfNode);
    const own = core === 3 ? { dedicatedTo: 'web' } : {};
    return { cpu, node, socket: Math.floor((node * sockets) / nodes), core, ...own };
  });
  return {
    nodes: Array.from({ length: nodes }, (_, node) => ({
      node,
      cpus: `${node * 32}-${node * 32 + 31},${cores + node * 32}-${cores + node * 32 + 31}`,
      ...{ totalMib: 1_048_576, freeMib: 524_288 },
      distances: Array.from({ length: nodes }, (__, other) => ({
        node: other,
        distance: other === node ? 10 : 21,
      })),
      hugePages: node === 0 ? [{ sizeKib: 2048, total: 512, free: 256 }] : [],
      instances: node === 0 ? Array.from({ length: 30 }, (__, at) => `web-${at}`) : [],
    })),
    cpus,
  };
}

async function ran(line: string, answer: object, ...argv: string[]) {
  await using daemon = await startScriptedDaemon({ [line]: () => ({ json: answer }) });
  const result = await runWirt(['host', ...argv], { daemon });
  return { ...result, lines: result.stdout.split('\n'), asked: daemon.asked };
}

describe('wirt host capacity', () => {
  it('shows what there is, what is promised, and what is left or too much', async () => {
    const { code, stdout } = await ran('GET /v1/host/capacity', capacity, 'capacity');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^Processors +8 +× 4 +26 vCPUs +10 vCPUs +16 vCPUs$/m);
    expect(stdout).toMatch(/^Memory +16\.0 GiB +× 1 +15\.0 GiB +16\.0 GiB +1\.0 GiB too many$/m);
    expect(stdout).toMatch(/^Processors that guests have alone +2-3$/m);
    expect(stdout).toMatch(/^0 +2 MiB +512 +300 +256 +256$/m);
    expect(stdout).not.toContain('1 GiB  0');
    expect(stdout).toMatch(
      /^default +100 GiB +× 1\.2 +120 GiB +150 GiB +60\.0 GiB +30\.0 GiB too many +10\.0 GiB$/m,
    );
  });

  it('gives programs the record', async () => {
    const { stdout } = await ran('GET /v1/host/capacity', capacity, 'capacity', '-o', 'json');
    expect(JSON.parse(stdout)).toEqual(capacity);
  });
});

describe('wirt host topology', () => {
  it('shows nodes, and processors by core with who has them alone', async () => {
    const { code, lines } = await ran('GET /v1/host/topology', largeHost(2, 2), 'topology');
    expect(code).toBe(0);
    expect(lines).toEqual([
      expect.stringMatching(/^NODE +CPUS +MEMORY +FREE +DISTANCES +HUGE PAGES +INSTANCES$/),
      expect.stringMatching(
        /^0 +0-31,64-95 +1\.0 TiB +512 GiB +10 to 0, 21 to 1 +512 of 2 MiB \(256 free\) +web-0, web-1, web-2, web-3, web-4 and 25 more$/,
      ),
      expect.stringMatching(/^1 +32-63,96-127 +1\.0 TiB +512 GiB +10 to 1, 21 to 0 +- +-$/),
      '',
      expect.stringMatching(/^NODE +SOCKET +CORES +THREADS +CPUS BY CORE +FOR ONE GUEST ALONE$/),
      expect.stringMatching(/^0 +0 +32 +2 +0\+64 1\+65 2\+66 … 31\+95 +web: 3,67$/),
      expect.stringMatching(/^1 +1 +32 +2 +32\+96 33\+97 34\+98 … 63\+127 +-$/),
      '',
    ]);
  });

  it('stays readable on 64 nodes with 4096 processors', async () => {
    const { lines } = await ran('GET /v1/host/topology', largeHost(64, 16), 'topology');
    expect(lines).toHaveLength(2 * 65 + 2);
    expect(Math.max(...lines.map(({ length }) => length))).toBeLessThan(180);
    expect(lines[2]).toContain('10 to 1, 21 to 0,2-63');
  });

  it('shows the processors of cores with one thread as ranges', async () => {
    const cpus = [0, 1, 2].map((cpu) => ({ cpu, node: 0, socket: 0, core: cpu }));
    const { stdout } = await ran('GET /v1/host/topology', { nodes: [], cpus }, 'topology');
    expect(stdout).toMatch(/^0 +0 +3 +1 +0-2 +-$/m);
  });
});

describe('wirt host set', () => {
  const line = 'PATCH /v1/host/settings';

  it('sends the factors that are named, and shows all', async () => {
    const answer = { cpuOvercommit: 4, memoryOvercommit: 1.2, poolOvercommit: 20 };
    const { code, asked, stdout } = await ran(line, answer, 'set', 'memory-overcommit=1.2');
    expect([code, asked[0]?.json]).toEqual([0, { memoryOvercommit: 1.2 }]);
    expect(stdout).toMatch(/^cpu-overcommit +4 /m);
    expect(stdout).toMatch(/^memory-overcommit +1\.2 /m);
    expect(stdout).toMatch(/^pool-overcommit +20 /m);
  });

  it.each([
    [[], 'needs SETTINGS: KEY=VALUE'],
    [['cpu-overcomit=4'], 'Did you mean cpu-overcommit?'],
    [['cpu-overcommit'], 'takes KEY=VALUE'],
    [['cpu-overcommit=x'], 'takes a factor such as 1.5'],
    [['cpu-overcommit='], 'takes a factor such as 1.5'],
    [['cpu-overcommit=0'], 'from 0.1 to 1000'],
    [['memory-overcommit=1001'], 'from 0.1 to 1000'],
    [['cpu-overcommit=1', 'cpu-overcommit=2'], 'given twice'],
  ])('refuses %j before it asks anything', async (texts, reason) => {
    const { code, stderr, asked } = await ran(line, settings, 'set', ...texts);
    expect([code, asked]).toEqual([2, []]);
    expect(stderr).toContain(reason);
  });

  it('is told apart from `host settings`, whose names it takes', async () => {
    const { stdout } = await ran('GET /v1/host/settings', settings, 'settings', '-o', 'name');
    expect(stdout).toBe('cpu-overcommit=4\nmemory-overcommit=1\npool-overcommit=1.2\n');
  });
});
