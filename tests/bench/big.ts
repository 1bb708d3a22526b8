// Big guests: 64 vCPUs and 2 TiB on whatever this machine has, from the request to running, a Linux that sees 64, and whether the limit that Wirt names is QEMU's.
// With `BENCH_QEMU` naming a QEMU that allows it, 1,024 vCPUs (`BENCH_VCPUS`: another number), which takes minutes by TCG.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { startDaemon, type TestDaemon } from '../functional/harness/daemon.ts';
import { type Figure, median, ms, timeMs, times } from './measure.ts';

const runs = 7;
const promisedMs = 1000;
/** An instance's `cpus` at most. */
const mostVcpus = 4096;
const big = { cpus: 64, memoryMib: 2_097_152 } as const;

async function start(daemon: TestDaemon, spec: { cpus: number; memoryMib: number }): Promise<number> {
  const name = 'big';
  const body = {
    name,
    start: true,
    spec: { image: 'micro', accelerator: 'tcg', overcommit: true, ...spec },
  } as const;
  try {
    return await timeMs(() =>
      daemon.client.call('POST /v1/instances', { body, query: { wait: 'done', waitSeconds: 600 } }),
    );
  } finally {
    const at = { params: { instance: name } };
    await daemon.client.call('DELETE /v1/instances/{instance}', {
      ...at,
      query: { force: 'true', wait: 'done' },
    });
  }
}

export async function bigGuests(): Promise<Figure[]> {
  const qemu = process.env['BENCH_QEMU'];
  await using daemon = await startDaemon(qemu === undefined ? {} : { args: ['--qemu', qemu] });
  // The first start asks QEMU what it can do.
  await start(daemon, { cpus: 1, memoryMib: 64 });
  const startMs = median(await times(runs, () => start(daemon, big)));
  const figure: Figure = {
    name: '64 vCPUs and 2 TiB, create to running',
    measured: ms(startMs),
    promised: '≤ 1 s',
    holds: startMs <= promisedMs,
  };
  const figures = [figure, await seen(daemon), await printedLimit(daemon, qemu)];
  const more = Number(process.env['BENCH_VCPUS'] ?? 1024);
  return qemu === undefined ? figures : [...figures, await many(daemon, more)];
}

/** By TCG on few processors, 64 take their time. */
async function seen(daemon: TestDaemon): Promise<Figure> {
  const at = { params: { instance: 'wide' } };
  const spec = {
    image: 'micro',
    accelerator: 'tcg',
    overcommit: true,
    cpus: big.cpus,
    memoryMib: 2048,
  } as const;
  let seen = '';
  const bootMs = await timeMs(async () => {
    await daemon.client.call('POST /v1/instances', {
      body: { name: 'wide', start: true, spec },
      query: { wait: 'ready', waitSeconds: 600 },
    });
    const answer = await daemon.client.call('POST /v1/instances/{instance}/exec', {
      ...at,
      body: { argv: ['nproc'], timeoutSeconds: 60 },
    });
    seen = Buffer.from(answer.stdout, 'base64').toString().trim();
  });
  await daemon.client.call('DELETE /v1/instances/{instance}', {
    ...at,
    query: { force: 'true', wait: 'done' },
  });
  return {
    name: 'a Linux guest of 64 vCPUs, create until it has counted them',
    measured: `${seen} after ${ms(bootMs)}`,
    promised: '64',
    holds: seen === '64',
  };
}

async function many(daemon: TestDaemon, cpus: number): Promise<Figure> {
  const name = `${cpus} vCPUs, create to running`;
  try {
    const measured = ms(await start(daemon, { cpus, memoryMib: 256 }));
    return { name, measured, promised: 'runs', holds: true };
  } catch (error) {
    return { name, measured: textOf(error), promised: 'runs', holds: false };
  }
}

/** QEMU itself takes as many as the refusal names, and not one more. */
async function printedLimit(daemon: TestDaemon, qemu = 'qemu-system-x86_64'): Promise<Figure> {
  const limit = await limitSaid(daemon);
  const [takes, takesMore] = [await roomFor(qemu, limit), await roomFor(qemu, limit + 1)];
  return {
    name: 'the limit of vCPUs that a refusal names',
    measured: `${limit}; QEMU ${takes ? 'takes' : 'refuses'} ${limit} and ${takesMore ? 'takes' : 'refuses'} ${limit + 1}`,
    promised: 'the true one',
    holds: takes && !takesMore,
  };
}

/** By the refusal of one more than the machine type takes; of a QEMU that takes all that can be asked for, that number. */
async function limitSaid(daemon: TestDaemon): Promise<number> {
  const { qemu } = await daemon.client.call('GET /v1/host', {});
  const most = qemu?.maxCpus['q35'] ?? 0;
  if (most >= mostVcpus) return most;
  const refusal = await start(daemon, { cpus: most + 1, memoryMib: 256 }).catch((error: unknown) => error);
  return Number((refusal as { details?: { limit?: unknown } }).details?.limit);
}

/** Whether a q35 with room for so many starts, with what more than 255 take. */
async function roomFor(qemu: string, cpus: number): Promise<boolean> {
  const words = [
    ...['-machine', 'q35', '-accel', 'tcg', '-cpu', 'max', '-smp', `cpus=1,maxcpus=${cpus}`, '-S'],
    ...(cpus > 255 ? ['-device', 'intel-iommu,intremap=on,eim=on,dma-translation=off'] : []),
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-qmp', 'stdio'],
  ];
  const child = spawn(qemu, words, { stdio: ['pipe', 'ignore', 'ignore'], timeout: 60_000 });
  child.stdin.on('error', () => {});
  child.stdin.end('{"execute":"qmp_capabilities"}{"execute":"quit"}');
  const [code] = await once(child, 'exit');
  return code === 0;
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
