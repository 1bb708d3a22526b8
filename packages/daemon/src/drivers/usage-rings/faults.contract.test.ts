// What happens to the history when files are damaged, the daemon is killed, or the disk is full.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import {
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { usageSample } from '@wirt/core/contract/usage-history';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type KeepingLogger, keepingLogger } from './keeping-logger.fixture.ts';
import { fineRing, headerBytes, placeOf, recordBytes } from './ring-file.ts';
import { createUsageRings } from './usage-rings.ts';

const run = promisify(execFile);
const id = '01J9ZK3W8Y7Q5T2R4M6N8P1000';
const other = '01J9ZK3W8Y7Q5T2R4M6N8P1001';
const fine = 5_000;
const t0 = Date.UTC(2026, 10, 22);
const lastHour = { fromMs: t0, toMs: t0 + 3_600_000, resolutionMs: fine };

describe('a history in rings', () => {
  let stateDirectory: string;
  let path: string;
  let logger: KeepingLogger;

  beforeEach(async () => {
    stateDirectory = await mkdtemp(join(tmpdir(), 'wirt-rings-'));
    path = join(stateDirectory, 'usage', id);
    logger = keepingLogger();
  });
  afterEach(() => rm(stateDirectory, { recursive: true, force: true }));

  const open1 = () => createUsageRings({ stateDirectory, logger });
  const add = (step: number, value = step): void =>
    open1().add(new Map([[id, usageSample(t0 + step * fine, value)]]));
  const values = async (): Promise<number[]> =>
    (await open1().read(id, lastHour)).map(({ cpuCores }) => cpuCores);

  it('leaves out a record that was torn, and has the others', async () => {
    for (const step of [1, 2, 3]) add(step);
    await using file = await open(path, 'r+');
    const place = placeOf(fineRing, t0 / fine + 2) + recordBytes / 2;
    await file.write(Buffer.alloc(recordBytes / 2), 0, recordBytes / 2, place);
    expect(await values()).toEqual([1, 3]);
  });

  it('is for nobody but wirtd', async () => {
    add(1);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(join(stateDirectory, 'usage'))).mode & 0o777).toBe(0o700);
  });

  it.each([
    ['garbage', () => writeFile(path, 'garbage'.repeat(50_000))],
    ['shorter than a header', () => truncate(path, 20)],
    ['a directory', () => rm(path).then(() => mkdir(join(path, 'in it'), { recursive: true }))],
    ['a link to another file', () => rm(path).then(() => symlink('/etc/hostname', path))],
  ])('sets aside a file that is %s, says so, and begins anew', async (_what, damage) => {
    add(1);
    await damage();
    expect(await values()).toEqual([]);
    add(2);
    expect(await values()).toEqual([2]);
    expect(logger.events).toEqual(['usage.history_damaged']);
    expect((await readdir(join(stateDirectory, 'usage'))).sort()).toEqual([id, `${id}.damaged`]);
    // Again: not a file more.
    await damage();
    add(3);
    expect(await readdir(join(stateDirectory, 'usage'))).toHaveLength(2);
    await open1().forget(id);
    expect(await readdir(join(stateDirectory, 'usage'))).toEqual([]);
  });

  it('takes the file of another instance for none of its own', async () => {
    open1().add(new Map([[other, usageSample(t0 + fine, 7)]]));
    await writeFile(path, await readFile(join(stateDirectory, 'usage', other)));
    expect(await values()).toEqual([]);
  });

  it('begins anew, without a word, where a file is empty or was removed', async () => {
    add(1);
    await truncate(path, 0);
    add(2);
    await rm(path);
    add(3);
    expect(await values()).toEqual([3]);
    expect(logger.events).toEqual([]);
  });

  it('notices within a minute that the file it writes was removed', () => {
    const rings = open1();
    rings.add(new Map([[id, usageSample(t0 + fine, 1)]]));
    rmSync(path);
    for (let step = 2; step <= 13; step++) rings.add(new Map([[id, usageSample(t0 + step * fine, step)]]));
    expect(existsSync(path)).toBe(true);
    rings.close();
  });

  it('keeps no file open of an instance that is forgotten, and none when it is closed', async () => {
    const openFiles = (): string[] =>
      readdirSync('/proc/self/fd').flatMap((fd) => {
        try {
          return [readlinkSync(`/proc/self/fd/${fd}`)];
        } catch {
          return [];
        }
      });
    const own = (): string[] => openFiles().filter((each) => each.startsWith(stateDirectory));
    const rings = open1();
    rings.add(new Map([id, other].map((each) => [each, usageSample(t0 + fine, 1)])));
    expect(own()).toHaveLength(2);
    await rings.forget(id);
    expect(own()).toEqual([join(stateDirectory, 'usage', other)]);
    rings.close();
    expect(own()).toEqual([]);
  });

  it('answers, whatever bytes are in the file, with what is whole', async () => {
    for (let step = 1; step <= 5; step++) add(step);
    const good = await readFile(path);
    const spot = fc.record({ at: fc.nat(good.length - 1), byte: fc.nat(255) });
    const near = fc.record({
      at: fc.integer({ min: 0, max: 8 * recordBytes }).map((at) => placeOf(fineRing, t0 / fine + 1) + at),
      byte: fc.nat(255),
    });
    const property = fc.asyncProperty(fc.array(fc.oneof(near, spot), { maxLength: 20 }), async (spots) => {
      const bytes = Buffer.from(good);
      for (const { at, byte } of spots) if (at >= headerBytes) bytes[at] = byte;
      await writeFile(path, bytes);
      const found = await values();
      expect([1, 2, 3, 4, 5]).toEqual(expect.arrayContaining(found));
      const hurt = new Set(
        spots.map(({ at }) => Math.floor((at - placeOf(fineRing, t0 / fine + 1)) / recordBytes)),
      );
      for (const step of [1, 2, 3, 4, 5]) if (!hurt.has(step - 1)) expect(found).toContain(step);
    });
    await fc.assert(property, { numRuns: 100 });
  });

  it('loses nothing that was added when the daemon is killed', async () => {
    const module = new URL('./usage-rings.ts', import.meta.url).href;
    // Adds without end, and says each step when `add` has returned.
    const program = `
      const { createUsageRings } = await import(${JSON.stringify(module)});
      const { writeSync } = await import('node:fs');
      const logger = { debug() {}, info() {}, warn() {}, error() {} };
      const rings = createUsageRings({ stateDirectory: ${JSON.stringify(stateDirectory)}, logger });
      const sample = ${JSON.stringify(usageSample(0, 1))};
      for (let step = 1; ; step++) {
        rings.add(new Map([[${JSON.stringify(id)}, { ...sample, atMs: ${t0} + step * ${fine}, cpuCores: step }]]));
        writeSync(1, step + '\\n');
      }`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (said.length > 1_000) child.kill('SIGKILL');
    });
    await once(child, 'close', { signal: AbortSignal.timeout(20_000) });
    const last = Number(said.trimEnd().split('\n').at(-1));
    const steps = await open1().read(id, { fromMs: t0, toMs: t0 + 1e9, resolutionMs: fine });
    const newest = steps.at(-1)?.cpuCores;
    // It may have died between adding a step and saying so.
    expect([last, last + 1]).toContain(newest);
    expect(steps.filter(({ atMs }) => atMs > t0 + (last - 700) * fine).length).toBeGreaterThanOrEqual(
      Math.min(last, 700),
    );
    expect(logger.events).toEqual([]);
  });
});

describe.skipIf(process.getuid?.() !== 0)(
  'a history on a full disk (needs root to mount a small one)',
  () => {
    let stateDirectory: string;

    beforeEach(async () => {
      stateDirectory = await mkdtemp(join(tmpdir(), 'wirt-rings-full-'));
      await run('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', stateDirectory]);
    });
    afterEach(async () => {
      await run('umount', ['-l', stateDirectory]);
      await rm(stateDirectory, { recursive: true, force: true });
    });

    it('says so, keeps what is there, goes on with those that have space, and with all when there is room', async () => {
      const rings = createUsageRings({ stateDirectory, logger: keepingLogger() });
      const both = (step: number) =>
        new Map([other, id].map((each) => [each, usageSample(t0 + step * fine, step)]));
      rings.add(new Map([[id, usageSample(t0 + fine, 1)]]));
      const filler = join(stateDirectory, 'filler');
      await writeFile(filler, Buffer.alloc(2 ** 20, 1)).catch(() => undefined);
      expect(() => rings.add(both(2))).toThrow(expect.objectContaining({ code: 'host.storage_full' }));
      const values = async (of: string) => (await rings.read(of, lastHour)).map(({ cpuCores }) => cpuCores);
      expect(await values(id)).toEqual([1, 2]);
      expect(await values(other)).toEqual([]);
      await rm(filler);
      rings.add(both(3));
      expect(await values(id)).toEqual([1, 2, 3]);
      expect(await values(other)).toEqual([3]);
    });
  },
);
