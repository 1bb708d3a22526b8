// What only this driver can be made to suffer: its process killed, a second opener, a full or read-only file system,
// a damaged or newer database.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import type { Store } from '@wirt/core';
import { takeChanges } from '@wirt/core/contract/store';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSqliteStore } from './open.ts';
import { silentLogger } from './silent-logger.fixture.ts';

const writerPath = fileURLToPath(new URL('./writer.fixture.ts', import.meta.url));
const isRoot = process.getuid?.() === 0;

let directory: string;
const children: ChildProcess[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'wirt-store-'));
});

afterEach(async () => {
  for (const child of children.splice(0)) await kill(child);
  await rm(directory, { recursive: true, force: true });
});

const openStore = (): Promise<Store> => openSqliteStore({ directory, logger: silentLogger });

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

/** A process that writes until it is killed; `lines` are what it says. */
function startWriter(first: number): { child: ChildProcess; lines: AsyncIterableIterator<string> } {
  const child = spawn(process.execPath, [writerPath, directory, String(first), '500'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
}

describe('a process killed while it writes', () => {
  it('leaves everything that was acknowledged, and nothing half', async () => {
    const acknowledged = new Set<number>();
    for (let round = 0; round < 6; round += 1) {
      const { child, lines } = startWriter(round * 100_000);
      let count = 0;
      for await (const line of lines) {
        const n = /^acknowledged (\d+)$/.exec(line)?.[1];
        if (n !== undefined) acknowledged.add(Number(n));
        count += 1;
        // At another moment in every round; lines that were said before the kill are still read.
        if (count === 40 + round * 333) child.kill('SIGKILL');
      }
      expect(count).toBeGreaterThanOrEqual(40);

      await using store = await openStore();
      const parts = new Map<number, number[]>();
      for (const { key, value, revision } of await store.list('')) {
        const n = Number(key.split('/')[0]);
        expect(value).toEqual({ n, filling: 'x'.repeat((n * 97) % 3_000) });
        parts.set(n, [...(parts.get(n) ?? []), revision]);
      }
      for (const [n, revisions] of parts) expect(revisions, `${n}`).toEqual(Array(3).fill(revisions[0]));
      for (const n of acknowledged) expect(parts.has(n), `${n} was acknowledged`).toBe(true);

      const revision = await store.revision();
      const signal = AbortSignal.timeout(10_000);
      const since = Math.max(0, revision - 100);
      const changes = await takeChanges(store.watch('', { since, signal }), 3 * (revision - since));
      expect(changes.at(-1)?.revision).toBe(revision);
    }
  });
});

describe('a second opener', () => {
  it('in another process is refused at once, with the pid of the first', async () => {
    const { child, lines } = startWriter(0);
    expect((await lines.next()).value).toBe('open');
    const startedMs = performance.now();
    await expect(openStore()).rejects.toMatchObject({
      code: 'daemon.already_running',
      message: `The process ${child.pid} uses the state directory ${directory}.`,
      hint: expect.stringContaining(`kill ${child.pid}`),
    });
    expect(performance.now() - startedMs).toBeLessThan(2_000);

    await kill(child);
    await using store = await openStore();
    expect(await readFile(join(directory, 'wirtd.pid'), 'utf8')).toBe(`${process.pid}\n`);
    expect(await store.revision()).toBeGreaterThanOrEqual(0);
  });

  it('in the same process is refused, and takes no lock away from the first', async () => {
    await using store = await openStore();
    for (let n = 0; n < 2; n += 1) {
      await expect(openStore()).rejects.toMatchObject({ code: 'daemon.already_running' });
    }
    const { lines } = startWriter(0);
    expect((await lines.next()).value).toBe('refused daemon.already_running');
    expect(await store.write([{ type: 'put', key: 'a', value: 1 }])).toBe(1);
  });

  it('is not told a pid that is only left over', async () => {
    const holder = new DatabaseSync(join(directory, 'wirt.db'));
    try {
      holder.exec('BEGIN EXCLUSIVE');
      await writeFile(join(directory, 'wirtd.pid'), '4194999\n');
      await expect(openStore()).rejects.toMatchObject({
        code: 'daemon.already_running',
        message: `Another process uses the state directory ${directory}.`,
      });
    } finally {
      holder.close();
    }
  });

  it('finds the directory free, and no pid in it, once the first has closed', async () => {
    await (await openStore())[Symbol.asyncDispose]();
    await expect(stat(join(directory, 'wirtd.pid'))).rejects.toMatchObject({ code: 'ENOENT' });
    await (await openStore())[Symbol.asyncDispose]();
  });
});

describe('a database that cannot be used', () => {
  it('is refused when a newer wirtd wrote it, and left as it is', async () => {
    await (await openStore())[Symbol.asyncDispose]();
    const newer = new DatabaseSync(join(directory, 'wirt.db'));
    newer.exec('PRAGMA user_version = 99');
    newer.close();
    const before = await readFile(join(directory, 'wirt.db'));
    await expect(openStore()).rejects.toMatchObject({
      code: 'store.failed',
      message: expect.stringContaining('newer wirtd (schema 99'),
    });
    expect((await readFile(join(directory, 'wirt.db'))).equals(before)).toBe(true);
  });

  it('is refused, with a way out, when it is no database', async () => {
    await writeFile(join(directory, 'wirt.db'), 'this is not a database, '.repeat(500));
    await expect(openStore()).rejects.toMatchObject({
      code: 'store.failed',
      message: `Could not open the store in ${directory}.`,
      hint: expect.stringContaining('.recover'),
    });
  });

  it('says so when it turns out to be damaged while in use', async () => {
    const first = await openStore();
    const value = 'x'.repeat(2_000);
    await first.write(Array.from({ length: 500 }, (_, n) => ({ type: 'put', key: `k/${n}`, value })));
    await first[Symbol.asyncDispose]();
    const file = await open(join(directory, 'wirt.db'), 'r+');
    const { size } = await file.stat();
    await file.write(Buffer.alloc(size - 40_960, 0xa5), 0, size - 40_960, 40_960);
    await file.close();
    const failure = { code: 'store.failed', hint: expect.stringContaining('damaged') };
    const read = async (): Promise<unknown> => {
      await using store = await openStore();
      return await store.list('k/');
    };
    await expect(read()).rejects.toMatchObject(failure);
  });

  it('readable for its owner alone', async () => {
    await using store = await openStore();
    await store.write([{ type: 'put', key: 'a', value: 1 }]);
    for (const file of ['wirt.db', 'wirt.db-wal']) {
      expect((await stat(join(directory, file))).mode & 0o777, file).toBe(0o600);
    }
  });
});

// Skipped for an ordinary user: only root may mount the file system that is filled and made read-only.
describe.skipIf(!isRoot)('a file system of its own (needs root, to mount it)', () => {
  beforeEach(() => {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m,mode=755', 'wirt-test', directory]);
  });

  afterEach(() => {
    execFileSync('umount', ['-l', directory]);
  });

  it('that is full refuses writes, still reads, and takes writes again once there is space', async () => {
    const events: string[] = [];
    const note = (event: string): void => void events.push(event);
    const logger = { debug: note, info: note, warn: note, error: note };
    const store = await openSqliteStore({ directory, logger });
    const put = (key: string, value: string): Promise<number> => store.write([{ type: 'put', key, value }]);
    const kept = await put('kept', 'yes');

    await writeFile(join(directory, 'ballast'), Buffer.alloc(8 << 20)).catch(() => {});
    const refused = { code: 'host.storage_full', message: expect.stringContaining(directory) };
    const tries = Array.from({ length: 20 }, (_, n) => put(`big/${n}`, 'x'.repeat(50_000)));
    for (const one of tries) await expect(one).rejects.toMatchObject(refused);
    expect(await store.list('')).toEqual([{ key: 'kept', value: 'yes', revision: kept }]);

    await rm(join(directory, 'ballast'));
    expect(await put('after', 'x'.repeat(50_000))).toBe(kept + 1);
    await store[Symbol.asyncDispose]();
    expect(events).toEqual(['store.opened', 'store.write_failed', 'store.write_recovered']);

    await using again = await openStore();
    expect((await again.list('')).map((record) => record.key)).toEqual(['after', 'kept']);
  });

  it('that is full fails the transaction that does not fit, and not its neighbours', async () => {
    await using store = await openStore();
    const values = ['x', 'x'.repeat(3 << 20), 'y'];
    const writes = values.map((value, n) => store.write([{ type: 'put', key: `${n}`, value }]));
    const outcomes = await Promise.allSettled(writes);
    expect(outcomes.map((outcome) => outcome.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect((await store.list('')).map((record) => record.key)).toEqual(['0', '2']);
  });

  it('that is full when the daemon starts opens an existing store for reading', async () => {
    const first = await openStore();
    await first.write([{ type: 'put', key: 'a', value: 1, ttlMs: 3_600_000 }]);
    await first[Symbol.asyncDispose]();
    await writeFile(join(directory, 'ballast'), Buffer.alloc(8 << 20)).catch(() => {});
    await using store = await openStore();
    expect((await store.get('a'))?.value).toBe(1);
  });

  it('that is read-only is named as such, at opening', async () => {
    await (await openStore())[Symbol.asyncDispose]();
    execFileSync('mount', ['-o', 'remount,ro', directory]);
    await expect(openStore()).rejects.toMatchObject({
      code: 'host.storage_read_only',
      message: expect.stringContaining(directory),
      hint: expect.stringContaining('findmnt'),
    });
  });
});

describe('a state directory', () => {
  it('that cannot be made is named', async () => {
    await writeFile(join(directory, 'file'), '');
    const inside = join(directory, 'file', 'state');
    await expect(openSqliteStore({ directory: inside, logger: silentLogger })).rejects.toMatchObject({
      code: 'store.failed',
      message: `Could not prepare the state directory ${inside}.`,
    });
  });
});
