// make run and make stop, as in the README: from nothing to a guest that answers; again, in seconds; after the daemon was
// killed, with the same guest; and all gone. In directories of its own, beside whatever runs on this machine.
import { createHash } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { make } from './harness/make.ts';
import { clearHost, remains } from './harness/remains.ts';
import { wirt } from './harness/wirt.ts';

let directory = '';
let env: Record<string, string> = {};
const at = (path: string): string => join(directory, path);
const tag = (): string => createHash('sha256').update(at('state')).digest('hex').slice(0, 8);
const whose = () => ({ tag: tag(), runDirectory: at('run'), stateDirectory: at('state') });
const daemonPid = async (): Promise<number> => Number(await readFile(at('home/wirtd.pid'), 'utf8'));

async function guestPid(): Promise<number> {
  const { stdout } = await wirt(at('run/wirtd.sock'), ['show', 'demo', '--output', 'json']);
  const { status } = JSON.parse(stdout) as { status: { state: string; process: { pid: number } } };
  expect(status.state).toBe('running');
  return status.process.pid;
}

async function expectAnswer(): Promise<void> {
  const told = await wirt(at('run/wirtd.sock'), ['exec', 'demo', '--', 'uname', '-s']);
  expect(told).toEqual({ exitCode: 0, stdout: 'Linux\n', stderr: '' });
}

/** Whatever make run has started and runs, by the environment that it was given. */
async function ownProcesses(): Promise<string[]> {
  const own: string[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
    if (environment.includes(`WIRT_RUN_HOME=${at('home')}`))
      own.push(`${pid} ${await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')}`);
  }
  return own;
}

beforeAll(async () => {
  directory = await realpath(await mkdtemp(join(tmpdir(), 'wirt-make-')));
  await chmod(directory, 0o755); // guests have uids of their own, and must get through to their image
  env = {
    WIRT_RUN_HOME: at('home'),
    WIRT_STATE_DIR: at('state'),
    WIRT_RUN_DIR: at('run'),
    WIRT_SOCKET: at('run/wirtd.sock'),
    // The host's own network is no test's.
    WIRT_NETWORK_DRIVER: 'user',
    WIRT_HOST_TUNING: 'off',
  };
});

afterAll(async () => {
  await make(['stop'], env);
  await clearHost(tag());
  await rm(directory, { recursive: true, force: true });
});

describe('make run', () => {
  let firstDaemon = 0;
  let guest = 0;

  it('goes from nothing to a guest whose agent answers, and says how to use it', async () => {
    const { exitCode, output } = await make(['run'], env);
    expect(output).toMatch(/==> Packages[^]*==> Build[^]*==> wirtd[^]*==> Image micro[^]*==> Guest demo/);
    expect(output).toContain('bin/wirt console demo');
    expect(exitCode).toBe(0);
    firstDaemon = await daemonPid();
    guest = await guestPid();
    await expectAnswer();
  });

  it('does nothing again that is done, within seconds', async () => {
    const startedAt = performance.now();
    const { exitCode, output } = await make(['run'], env);
    expect(performance.now() - startedAt).toBeLessThan(10_000);
    expect(output).toMatch(/up to date[^]*wirtd is running[^]*image micro is there[^]*demo is running/);
    expect(exitCode).toBe(0);
    expect([await daemonPid(), await guestPid()]).toEqual([firstDaemon, guest]);
  });

  it('starts wirtd again when it died, and finds the same guest running', async () => {
    process.kill(firstDaemon, 'SIGKILL');
    const { exitCode, output } = await make(['run'], env);
    expect(output).toContain('demo is running');
    expect(exitCode).toBe(0);
    expect(await daemonPid()).not.toBe(firstDaemon);
    expect(await guestPid()).toBe(guest);
  });

  it('starts a guest that was stopped', async () => {
    await wirt(at('run/wirtd.sock'), ['stop', 'demo']);
    expect((await make(['run'], env)).exitCode).toBe(0);
    expect(await guestPid()).not.toBe(guest);
  });

  it('waits for a guest whose start was left by Ctrl-C', async () => {
    await wirt(at('run/wirtd.sock'), ['stop', '--force', 'demo']);
    const { exitCode } = await wirt(at('run/wirtd.sock'), ['start', 'demo', '--wait', 'none']);
    expect(exitCode).toBe(0);
    const run = await make(['run'], env);
    expect(run).toMatchObject({ exitCode: 0, output: expect.stringContaining('waiting for its agent') });
    await expectAnswer();
  });

  it('lets a paused guest run on', async () => {
    const before = await guestPid();
    await wirt(at('run/wirtd.sock'), ['pause', 'demo']);
    expect((await make(['run'], env)).exitCode).toBe(0);
    expect(await guestPid()).toBe(before);
    await expectAnswer();
  });
});

describe('make stop', () => {
  it('stops the guest and wirtd, and leaves nothing running', async () => {
    const { exitCode, output } = await make(['stop'], env);
    expect(output).toContain('wirtd has stopped');
    expect(exitCode).toBe(0);
    expect(await remains(whose())).toEqual([]);
    expect(await ownProcesses()).toEqual([]);
  });

  it('stops the guest also when wirtd has died', async () => {
    expect((await make(['run'], env)).exitCode).toBe(0);
    expect(await ownProcesses()).not.toEqual([]);
    process.kill(await daemonPid(), 'SIGKILL');
    const { exitCode, output } = await make(['stop'], env);
    expect(output).toMatch(/has died: starting it again[^]*wirtd has stopped/);
    expect(exitCode).toBe(0);
    expect(await remains(whose())).toEqual([]);
    expect(await ownProcesses()).toEqual([]);
  });

  it('is content when nothing runs', async () => {
    expect(await make(['stop'], env)).toEqual({
      exitCode: 0,
      output: 'wirtd of this clone is not running\n',
    });
  });
});
