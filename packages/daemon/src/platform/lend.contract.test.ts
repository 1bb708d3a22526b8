// Real files, users and access lists: what guests, and copies with a loan, can open, and what is left of it when a daemon dies.
import { spawnSync } from 'node:child_process';
import { chmod, chown, mkdir, mkdtemp, open, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Identity, Logger } from '@wirt/core';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { daemonAccess, type FileAccess, withOpened } from './file-access.ts';
import { createLoans, type Loans } from './lend.ts';

const isRoot = process.geteuid?.() === 0;
const hasLists = spawnSync('setfacl', ['--version']).error === undefined;
const reason = !isRoot ? ' (skipped without root)' : hasLists ? '' : ' (skipped: setfacl is not installed)';
const logger: Logger = { debug() {}, info() {}, warn() {}, error() {} };
const identityOf = (uid: number): Identity => ({ uid, gid: uid, groups: [], own: true });
const [guest, other, copy, export_] = [1, 2, 3, 4].map((index) => identityOf(1_873_000_200 + index)) as [
  Identity,
  Identity,
  Identity,
  Identity,
];
const writes = ({ gid }: Identity): FileAccess => ({ ...daemonAccess(0o660), gid });
const reads = ({ gid }: Identity): FileAccess => ({ ...daemonAccess(0o440), gid });
const shared = daemonAccess(0o444);

let directory: string;
let path: string;
let loans: Loans;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'wirt-lend-'));
  await chmod(directory, 0o711);
  path = join(directory, 'layer');
  await writeFile(path, 'layer');
  await chmod(path, 0o640);
  loans = newLoans();
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const newLoans = (): Loans => createLoans({ directory: join(directory, 'lent'), logger });
const give = (access: FileAccess, by = loans): Promise<void> =>
  withOpened(path, (file) => by.give(file, path, access));
const lend = (to: Identity, by = loans): Promise<AsyncDisposable> =>
  by.lend(to, { read: [path] }, 'volume.failed');

function runAs({ uid, gid }: Identity, words: readonly string[]): boolean {
  const become = [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--bounding-set=-all'];
  return spawnSync('setpriv', [...become, '--inh-caps=-all', ...words]).status === 0;
}
const canRead = (who: Identity): boolean => runAs(who, ['sh', '-c', 'exec 3< "$1"', 'sh', path]);
const canWrite = (who: Identity): boolean => runAs(who, ['sh', '-c', 'exec 3<> "$1"', 'sh', path]);
const facts = async (): Promise<unknown> => {
  const { uid, gid, mode } = await stat(path);
  const { stdout } = spawnSync('getfacl', ['-cpn', path], { encoding: 'utf8' });
  return { uid, gid, mode: mode & 0o777, isPlain: stdout.trim().split('\n').length === 3 };
};

describe.skipIf(reason !== '')(`the file of a layer${reason}`, () => {
  it('is written by the guest that has it, which can neither change its mode nor list others', async () => {
    await give(writes(guest));
    expect(canWrite(guest)).toBe(true);
    expect(runAs(guest, ['chmod', '666', path])).toBe(false);
    expect(runAs(guest, ['setfacl', '-m', `u:${other.uid}:rw`, path])).toBe(false);
    expect(canRead(other)).toBe(false);
    await give(reads(guest));
    expect(canWrite(guest)).toBe(false);
    expect(runAs(guest, ['chmod', '660', path])).toBe(false);
  });

  it('loses what a guest that had owned it has listed, when it is given, lent and taken back', async () => {
    const plant = async (): Promise<void> => {
      await chown(path, guest.uid, guest.gid);
      await chmod(path, 0o600);
      expect(runAs(guest, ['setfacl', '-m', `u:${other.uid}:rw`, path])).toBe(true);
    };
    for (const access of [daemonAccess(), writes(guest)]) {
      await plant();
      await give(access);
      {
        await using _loan = await lend(copy);
        expect(canRead(copy)).toBe(true);
        expect(canRead(other)).toBe(false);
      }
      expect(await facts()).toEqual({ ...access, isPlain: true });
    }
    await plant();
    // An earlier Wirt took it back so, and left the list.
    await chown(path, 0, 0);
    await chmod(path, 0o600);
    await give(daemonAccess());
    await using _loan = await lend(copy);
    expect(canRead(other)).toBe(false);
  });

  it('goes to a guest while it is on loan, and stays readable to who has it on loan', async () => {
    const [loan] = await Promise.all([lend(copy), give(writes(guest))]);
    expect([canWrite(guest), canRead(copy), canWrite(copy), canRead(other)]).toEqual([
      true,
      true,
      false,
      false,
    ]);
    await give(daemonAccess());
    expect([canRead(guest), canRead(copy)]).toEqual([false, true]);
    await give(shared);
    expect([canRead(copy), canRead(other)]).toEqual([true, true]);
    await give(writes(other));
    expect([canRead(guest), canRead(copy), canWrite(other)]).toEqual([false, true, true]);
    await loan[Symbol.asyncDispose]();
    expect(await facts()).toEqual({ ...writes(other), isPlain: true });
  });

  it('is written by who has it on loan for that, and is the daemon’s alone again', async () => {
    {
      await using _loan = await loans.lend(copy, { read: [], write: path }, 'volume.failed');
      expect([canWrite(copy), canRead(other)]).toEqual([true, false]);
      expect(runAs(copy, ['chmod', '666', path])).toBe(false);
    }
    expect(await facts()).toEqual({ ...daemonAccess(), isPlain: true });
  });

  it('is open to whom the table says, whatever began and ended in whatever order', async () => {
    const who = [guest, other, copy, export_];
    const step = fc.oneof(
      fc.record({ kind: fc.constant('lend' as const), to: fc.constantFrom(copy, export_) }),
      fc.record({ kind: fc.constant('end' as const), at: fc.nat() }),
      fc.record({
        kind: fc.constant('give' as const),
        access: fc.constantFrom(daemonAccess(), shared, writes(guest), reads(guest), writes(other)),
      }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 7 }), async (steps) => {
        await give(daemonAccess());
        let base = daemonAccess();
        const open: { to: Identity; loan: AsyncDisposable }[] = [];
        for (const one of steps) {
          if (one.kind === 'lend') open.push({ to: one.to, loan: await lend(one.to) });
          else if (one.kind === 'give') await give((base = one.access));
          else if (open.length > 0)
            await open.splice(one.at % open.length, 1)[0]?.loan[Symbol.asyncDispose]();
        }
        for (const each of who) {
          const mayRead = base.mode === 0o444 || base.gid === each.gid || open.some(({ to }) => to === each);
          expect(canRead(each)).toBe(mayRead);
        }
        await Promise.all(open.map(({ loan }) => loan[Symbol.asyncDispose]()));
        expect(await facts()).toEqual({ ...base, isPlain: true });
      }),
      { numRuns: 12 },
    );
  }, 60_000);
});

describe.skipIf(reason !== '')(`what a daemon that died had lent${reason}`, () => {
  it('is taken back by the next one, which keeps the uid until then', async () => {
    await give(writes(guest));
    const target = join(directory, 'target');
    await writeFile(target, '', { mode: 0o640 });
    await loans.lend(copy, { read: [path], write: target }, 'volume.failed');
    expect([canRead(copy), loans.isLentTo(copy.uid)]).toEqual([true, true]);
    const next = newLoans();
    await next.recover();
    expect([canRead(copy), canWrite(guest), next.isLentTo(copy.uid)]).toEqual([false, true, false]);
    expect(await facts()).toEqual({ ...writes(guest), isPlain: true });
    expect(await stat(target)).toMatchObject({ uid: 0, gid: 0 });
    expect(await readdir(join(directory, 'lent'))).toEqual([]);
  });

  it('goes on being taken back after a file that cannot be, whose uid is kept', async () => {
    const link = join(directory, 'link');
    await writeFile(link, '', { mode: 0o600 });
    const loan = await loans.lend(copy, { read: [link, path] }, 'volume.failed');
    await rm(link);
    // No link is followed to what somebody else has.
    spawnSync('ln', ['-s', '/etc/passwd', link]);
    await expect(loan[Symbol.asyncDispose]()).rejects.toMatchObject({ details: { path: link } });
    expect([canRead(copy), loans.isLentTo(copy.uid)]).toEqual([false, true]);
    const next = newLoans();
    await next.recover();
    expect(next.isLentTo(copy.uid)).toBe(true);
    await rm(link);
    const last = newLoans();
    await last.recover();
    expect(last.isLentTo(copy.uid)).toBe(false);
  });

  it('is not read from files that are no records', async () => {
    const lent = join(directory, 'lent');
    await mkdir(lent);
    const record = (read: unknown): string => JSON.stringify({ uid: copy.uid, read, openedToAll: [] });
    const bad = {
      '0000000000000001.json': record(['relative']),
      '0000000000000002.json': record(['/a/../b']),
    };
    for (const [name, text] of Object.entries({ ...bad, '.0000000000000003.json.ab.tmp': record([path]) }))
      await writeFile(join(lent, name), text);
    const before = await facts();
    await newLoans().recover();
    expect(await facts()).toEqual(before);
    expect(await readdir(lent)).toHaveLength(3);
  });
});

describe.skipIf(!isRoot)('a host without access lists (skipped without root)', () => {
  it('opens a file to all as long as it is lent, and closes what it opened also after a crash', async () => {
    const tools = join(directory, 'tools');
    await mkdir(tools);
    const script = '#!/bin/sh\necho "setfacl: x: Operation not supported" >&2\nexit 1\n';
    await writeFile(join(tools, 'setfacl'), script, { mode: 0o755 });
    const before = process.env['PATH'];
    process.env['PATH'] = `${tools}:${before}`;
    try {
      const [first, second] = [await lend(copy), await lend(export_)];
      await give(writes(guest));
      await first[Symbol.asyncDispose]();
      expect([canRead(export_), canWrite(guest)]).toEqual([true, true]);
      await second[Symbol.asyncDispose]();
      expect(await facts()).toMatchObject(writes(guest));
      await lend(copy);
      await newLoans().recover();
      expect(await facts()).toMatchObject(writes(guest));
      await give(shared);
      await using _third = await lend(copy);
      await newLoans().recover();
      expect(await facts()).toMatchObject(shared);
    } finally {
      process.env['PATH'] = before;
    }
  });

  it('gives a file in well under 2 ms', async () => {
    await using file = await open(path, 'r');
    const startMs = performance.now();
    for (let round = 0; round < 100; round += 1)
      await loans.give(file, path, round % 2 === 0 ? writes(guest) : daemonAccess());
    expect((performance.now() - startMs) / 100).toBeLessThan(2);
  });
});
