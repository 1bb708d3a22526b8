// Disks: what a linked clone adds to a start, a hundred clones at once, and an import beside qemu-img alone.
import { execFile } from 'node:child_process';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startDaemon, type TestDaemon } from '../functional/harness/daemon.ts';
import { type Figure, median, ms, timeMs } from './measure.ts';

const run = promisify(execFile);
const runs = 20;
const importRuns = 5;
const gib = 1024 ** 3;
const wait = { wait: 'done', waitSeconds: 600 } as const;

export async function storage(): Promise<Figure[]> {
  const scratch = await mkdtemp(join(tmpdir(), 'wirt-bench-'));
  try {
    await using daemon = await startDaemon();
    await importBase(daemon, scratch);
    return [...(await clones(daemon)), await crowdOfClones(daemon), ...(await imports(daemon, scratch))];
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** A disk with some data in it; whether it boots does not matter here. */
async function importBase(daemon: TestDaemon, scratch: string): Promise<void> {
  const path = join(scratch, 'base.qcow2');
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', path, '2G']);
  await run('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 0 64M', path]);
  await daemon.client.call('POST /v1/images/import', { body: { name: 'base', path }, query: wait });
}

async function startAndRemove(
  daemon: TestDaemon,
  name: string,
  spec: { image?: string; disks?: [] },
): Promise<number> {
  const body = { name, start: true, startPaused: true, spec: { memoryMib: 64, ...spec } };
  const took = await timeMs(() => daemon.client.call('POST /v1/instances', { body, query: wait }));
  await daemon.client.call('DELETE /v1/instances/{instance}', {
    params: { instance: name },
    query: { force: 'true', ...wait },
  });
  return took;
}

/** By turns, so that what else the machine does meets both alike. */
async function clones(daemon: TestDaemon): Promise<Figure[]> {
  const without: number[] = [];
  const withClone: number[] = [];
  for (let number = 0; number < runs; number += 1) {
    without.push(await startAndRemove(daemon, `kernel-${number}`, { image: 'micro' }));
    withClone.push(await startAndRemove(daemon, `clone-${number}`, { image: 'base' }));
  }
  const [bareMs, cloneMs] = [without, withClone].map((all) => median(all.sort((a, b) => a - b))) as [
    number,
    number,
  ];
  return [
    { name: 'create + start without a disk', measured: ms(bareMs), promised: '', holds: true },
    {
      name: 'create + linked clone of an image + start',
      measured: `${ms(cloneMs)} (${cloneMs >= bareMs ? '+' : '−'}${ms(Math.abs(cloneMs - bareMs))})`,
      promised: '≤ 10 ms more',
      holds: cloneMs <= bareMs + 10,
    },
  ];
}

async function crowdOfClones(daemon: TestDaemon): Promise<Figure> {
  const names = Array.from({ length: 100 }, (_, number) => `many-${number}`);
  let failures = 0;
  const took = await timeMs(async () => {
    const all = await Promise.allSettled(
      names.map((name) =>
        daemon.client.call('POST /v1/instances', {
          body: { name, start: true, startPaused: true, spec: { image: 'base', memoryMib: 64 } },
          query: wait,
        }),
      ),
    );
    failures = all.filter(({ status }) => status === 'rejected').length;
  });
  await Promise.all(
    names.map((instance) =>
      daemon.client.call('DELETE /v1/instances/{instance}', {
        params: { instance },
        query: { force: 'true', ...wait },
      }),
    ),
  );
  return {
    name: '100 linked clones of one image started at once',
    measured: `${100 - failures} run, ${failures} errors, ${ms(took)}`,
    promised: '0 errors, ≤ 10 s',
    holds: failures === 0 && took <= 10_000,
  };
}

/**
 * The same vmdk, full of data, by qemu-img and by `wirt import`, in turns; both files warm in the page cache. An import is on the disk when it is
 * answered; qemu-img alone leaves that to the kernel, and is timed with a sync as well.
 */
async function imports(daemon: TestDaemon, scratch: string): Promise<Figure[]> {
  const raw = join(scratch, 'full.raw');
  const vmdk = join(scratch, 'full.vmdk');
  const out = join(scratch, 'out.qcow2');
  await run('dd', ['if=/dev/urandom', `of=${raw}`, 'bs=1M', `count=${(2 * gib) / 1024 ** 2}`, 'status=none']);
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'vmdk', raw, vmdk]);
  await rm(raw);
  await run('sync');
  const convert = () => run('qemu-img', ['convert', '-f', 'vmdk', '-O', 'qcow2', vmdk, out]);
  const times = { alone: [] as number[], synced: [] as number[], wirt: [] as number[] };
  for (let number = 0; number < importRuns; number += 1) {
    times.alone.push(await timeMs(convert));
    await rm(out);
    times.synced.push(await timeMs(() => convert().then(() => run('sync', [out]))));
    await rm(out);
    const name = `imported-${number}`;
    const body = { path: vmdk, name, format: 'disk', diskFormat: 'vmdk' } as const;
    times.wirt.push(await timeMs(() => daemon.client.call('POST /v1/imports', { body, query: wait })));
    await daemon.client.call('DELETE /v1/instances/{instance}', { params: { instance: name }, query: wait });
  }
  const [aloneMs, syncedMs, wirtMs] = [times.alone, times.synced, times.wirt].map((all) =>
    median(all.toSorted((a, b) => a - b)),
  ) as [number, number, number];
  const { size } = await stat(vmdk);
  const name = `import of a vmdk of ${(size / gib).toFixed(1)} GiB`;
  return [
    {
      name: `${name}, against qemu-img convert`,
      measured: `${ms(wirtMs)} (${(wirtMs / aloneMs).toFixed(2)} × ${ms(aloneMs)})`,
      promised: '≤ 1.1 ×',
      holds: wirtMs <= 1.1 * aloneMs,
    },
    {
      name: `${name}, against the same and sync`,
      measured: `${(wirtMs / syncedMs).toFixed(2)} × ${ms(syncedMs)}`,
      promised: '≤ 1.1 ×',
      holds: wirtMs <= 1.1 * syncedMs,
    },
  ];
}
