// make bench: the figures of SPECIFICATION.md, measured side by side in one run and printed as a table.
// Arguments choose figures by the name of their group; without any, all are measured.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cloneRoot, startDaemon, type TestDaemon } from '../functional/harness/daemon.ts';
import { bareStartMs } from './bare-qemu.ts';
import { bigGuests } from './big.ts';
import { diskIo } from './disk-io.ts';
import { libvirtTimes } from './libvirt.ts';
import { type Figure, median, ms, percentile, printTable, timeMs, times } from './measure.ts';
import { network } from './network.ts';
import { qos } from './qos.ts';
import { storage } from './storage.ts';
import { tuning } from './tuning.ts';
import { usage } from './usage.ts';

const runs = 20;
const peerRuns = 7;
const spec = { image: 'micro', memoryMib: 64 } as const;
const at = (instance: string) => ({ params: { instance } });

async function define(daemon: TestDaemon, from: number, to: number): Promise<void> {
  const step = 50;
  for (let first = from; first < to; first += step) {
    const batch = Array.from({ length: Math.min(step, to - first) }, (_, index) => first + index);
    await Promise.all(
      batch.map((number) =>
        daemon.client.call('POST /v1/instances', { body: { name: `defined-${number}`, spec } }),
      ),
    );
  }
}

async function residentMb(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1000;
}

function startAndDestroy(daemon: TestDaemon): {
  create(name: string): Promise<number>;
  destroy(name: string): Promise<number>;
} {
  return {
    create: (name) =>
      timeMs(() =>
        daemon.client.call('POST /v1/instances', {
          body: { name, start: true, spec },
          query: { wait: 'done' },
        }),
      ),
    destroy: (name) =>
      timeMs(() =>
        daemon.client.call('POST /v1/instances/{instance}/stop', {
          ...at(name),
          body: { mode: 'force' },
          query: { wait: 'done' },
        }),
      ),
  };
}

/** Bare QEMU and Wirt by turns, so that what else the machine does meets both alike; then libvirt. */
async function launch(daemon: TestDaemon): Promise<Figure[]> {
  const { create, destroy } = startAndDestroy(daemon);
  await create('model');
  const { status } = await daemon.client.call('GET /v1/instances/{instance}', at('model'));
  const bare: number[] = [];
  const starts: number[] = [];
  const stops: number[] = [];
  for (let run = 0; run < runs; run += 1) {
    bare.push(await bareStartMs(status.process?.pid ?? 0));
    starts.push(await create(`run-${run}`));
    stops.push(await destroy(`run-${run}`));
  }
  const ascending = (values: number[]): number[] => values.sort((a, b) => a - b);
  const [bareMs, startMs, stopMs] = [
    median(ascending(bare)),
    median(ascending(starts)),
    median(ascending(stops)),
  ];
  const [image] = await readdir(join(daemon.stateDirectory, 'images'));
  const files = join(daemon.stateDirectory, 'images', image ?? '');
  const { items } = await daemon.client.call('GET /v1/images', {});
  const peer = await libvirtTimes(
    join(files, items[0]?.status.kernel ?? ''),
    join(files, items[0]?.status.initrd ?? ''),
    peerRuns,
  );
  const absent = 'libvirt is not installed';
  return [
    { name: 'bare QEMU, exec to QMP ready', measured: ms(bareMs), promised: '', holds: true },
    {
      name: 'create + start, 1,000 defined',
      measured: `${ms(startMs)} (bare + ${ms(startMs - bareMs)})`,
      promised: '≤ bare + 25 ms',
      holds: startMs <= bareMs + 25,
    },
    {
      name: 'libvirt define + start',
      measured:
        peer === undefined ? absent : `${ms(peer.startMs)} (${(peer.startMs / startMs).toFixed(1)} ×)`,
      promised: '≥ 5 × Wirt’s',
      holds: peer === undefined ? undefined : peer.startMs >= 5 * startMs,
    },
    { name: 'destroy by force', measured: ms(stopMs), promised: '≤ 60 ms', holds: stopMs <= 60 },
    {
      name: 'libvirt destroy',
      measured: peer === undefined ? absent : ms(peer.destroyMs),
      promised: '',
      holds: peer === undefined ? undefined : true,
    },
  ];
}

async function processMs(program: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  return timeMs(async () => {
    const child = spawn(program, args, { stdio: 'ignore', env });
    await once(child, 'exit');
  });
}

async function listing(daemon: TestDaemon): Promise<Figure[]> {
  const env = { ...process.env, WIRT_SOCKET: daemon.socket };
  const nodes: number[] = [];
  const lists: number[] = [];
  for (let run = 0; run < runs; run += 1) {
    nodes.push(await processMs(process.execPath, ['-e', '0'], env));
    lists.push(await processMs(join(cloneRoot, 'bin/wirt'), ['ls'], env));
  }
  const [nodeMs, lsMs] = [nodes, lists].map((values) => median(values.sort((a, b) => a - b))) as [
    number,
    number,
  ];
  const resident = await residentMb(daemon.pid());
  return [
    {
      name: '`wirt ls`, 1,000 defined',
      measured: `${ms(lsMs)} (${(lsMs / nodeMs).toFixed(2)} × node -e 0)`,
      promised: '≤ 2.5 ×',
      holds: lsMs <= 2.5 * nodeMs,
    },
    {
      name: 'wirtd resident, 1,000 defined',
      measured: `${Math.round(resident)} MB`,
      promised: '≤ 120 MB',
      holds: resident <= 120,
    },
  ];
}

async function firstPage(daemon: TestDaemon): Promise<Figure[]> {
  await define(daemon, 1000, 10_000);
  const pages = await times(1000, () => timeMs(() => daemon.client.call('GET /v1/instances', {})));
  const p99 = percentile(pages, 0.99);
  return [
    { name: 'first page of 10,000, p99 of 1,000', measured: ms(p99), promised: '≤ 50 ms', holds: p99 <= 50 },
  ];
}

async function crowd(): Promise<Figure[]> {
  await using daemon = await startDaemon();
  const names = Array.from({ length: 100 }, (_, number) => `crowd-${number}`);
  let failures = 0;
  const took = await timeMs(async () => {
    const started = await Promise.allSettled(
      names.map((name) =>
        daemon.client.call('POST /v1/instances', {
          body: { name, start: true, startPaused: true, spec },
          query: { wait: 'done' },
        }),
      ),
    );
    failures = started.filter(({ status }) => status === 'rejected').length;
  });
  const { items } = await daemon.client.call('GET /v1/instances', {
    query: { state: 'paused', limit: 1000 },
  });
  const adoption = await adopt(daemon, items.length);
  return [
    {
      name: '100 created and started at once',
      measured: `${items.length} run, ${failures} errors, ${ms(took)}`,
      promised: '100 run, 0 errors',
      holds: items.length === 100 && failures === 0,
    },
    adoption,
  ];
}

/** From the start of wirtd until it serves, with every guest adopted: 50 of them when 50 are left. */
async function adopt(daemon: TestDaemon, running: number): Promise<Figure> {
  for (let number = 50; number < running; number += 1) {
    await daemon.client.call('POST /v1/instances/{instance}/stop', {
      ...at(`crowd-${number}`),
      body: { mode: 'force' },
      query: { wait: 'done' },
    });
  }
  await daemon.kill();
  const took = await timeMs(() => daemon.start());
  const { items } = await daemon.client.call('GET /v1/instances', {
    query: { state: 'paused', limit: 1000 },
  });
  return {
    name: '50 guests adopted, from exec of wirtd',
    measured: `${items.length} in ${ms(took)}`,
    promised: '50 in ≤ 2 s',
    holds: items.length === 50 && took <= 2000,
  };
}

async function boot(): Promise<Figure[]> {
  await using daemon = await startDaemon();
  const boots = await times(5, async (run) => {
    const name = `boot-${run}`;
    const body = { name, start: true, spec: { image: 'micro', memoryMib: 128 } };
    const took = await timeMs(() =>
      daemon.client.call('POST /v1/instances', { body, query: { wait: 'ready' } }),
    );
    await daemon.client.call('DELETE /v1/instances/{instance}', {
      ...at(name),
      query: { force: 'true', wait: 'done' },
    });
    return took;
  });
  const stuck = await times(5, async (run) => {
    const name = `stuck-${run}`;
    await daemon.create(name, { start: true });
    const { status } = await daemon.client.call('GET /v1/instances/{instance}', at(name));
    process.kill(status.process?.pid ?? 0, 'SIGSTOP');
    return timeMs(() => daemon.reach(name, 'unresponsive'));
  });
  const slowest = stuck.at(-1) ?? Number.NaN;
  return [
    {
      name: 'micro: create to agent answering',
      measured: ms(median(boots)),
      promised: 'about 2.5 s (TCG)',
      holds: median(boots) <= 3000,
    },
    {
      name: 'SIGSTOP to `unresponsive`, slowest of 5',
      measured: ms(slowest),
      promised: '≤ 3 s',
      holds: slowest <= 3000,
    },
  ];
}

async function thousand(): Promise<Figure[]> {
  await using daemon = await startDaemon();
  await define(daemon, 0, 1000);
  return [...(await launch(daemon)), ...(await listing(daemon)), ...(await firstPage(daemon))];
}

const groups = { thousand, crowd, boot, bigGuests, storage, network, qos, usage, diskIo, tuning } as const;
const wanted = process.argv.slice(2);
const figures: Figure[] = [];
for (const [name, group] of Object.entries(groups))
  if (wanted.length === 0 || wanted.includes(name)) figures.push(...(await group()));
printTable(figures);
process.exitCode = figures.some(({ holds }) => holds === false) ? 1 : 0;
