// The confinement, as the kernel tells of it.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { chmod, chown, mkdir, mkdtemp, readFile, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Confinement } from '@wirt/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseCgroupMounts } from './cgroup-mounts.ts';
import { cannotJoinStatus, confinedLauncher, endConfined, type ProcessLimits } from './confined.ts';
import { runProgram } from './subprocess.ts';

const isRoot = process.geteuid?.() === 0;
const uid = 232_323;
const timeoutMs = 20_000;
const confinement = (joinFiles: string[] = []): Confinement => ({
  identity: { uid, gid: uid, groups: [], own: true },
  controlGroup: { joinFiles },
});

function run(words: string[], limits: ProcessLimits = {}, joinFiles: string[] = []) {
  const [program = '', ...rest] = [...confinedLauncher(confinement(joinFiles), limits), ...words];
  return runProgram(program, rest, { timeoutMs });
}

/** A zombie has ended: only its parent has not looked yet. */
function isRunning(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    // It went while it was looked at.
    return false;
  }
}

describe.skipIf(!isRoot)(`a confined program${isRoot ? '' : ' (skipped: needs root)'}`, () => {
  let directory: string;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'wirt-confined-'));
    await chmod(directory, 0o711);
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  it('has its own user and group and no others', async () => {
    const { stdout } = await run(['sh', '-c', 'id -u; id -g; id -G']);
    expect(stdout).toBe(`${uid}\n${uid}\n${uid}\n`);
  });

  it('has no capability, and no way to get one', async () => {
    const { stdout } = await run(['cat', '/proc/self/status']);
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
      expect(stdout).toMatch(new RegExp(`^${set}:\\t0{16}$`, 'm'));
    expect(stdout).toMatch(/^NoNewPrivs:\t1$/m);
  });

  it('has its arguments as they are', async () => {
    const odd = ['$(id)', 'a b', "'", '*', '', '--'];
    expect((await run(['printf', '%s|', ...odd])).stdout).toBe(`${odd.join('|')}|`);
  });

  it('cannot reach a server on the network, which others do', async () => {
    await using server = createServer((socket) => socket.end('hello\n')).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    const connect = `import net from 'node:net'; net.connect(${address.port}, '127.0.0.1').pipe(process.stdout);`;
    const words = [process.execPath, '--input-type=module', '-e', connect];
    const open = await runProgram(process.execPath, words.slice(1), { timeoutMs });
    expect(open).toMatchObject({ exitCode: 0, stdout: 'hello\n' });
    const confined = await run(words);
    expect(confined.exitCode).not.toBe(0);
    expect(confined.stderr).toMatch(/ENETUNREACH|EADDRNOTAVAIL|ECONNREFUSED/);
    const interfaces = await run(['cat', '/proc/self/net/dev']);
    expect(interfaces.stdout.match(/^\s*[\w.]+:/gm)?.map((name) => name.trim())).toEqual(['lo:']);
  });

  it('writes no file beyond its limit', async () => {
    const path = join(directory, 'file');
    await writeFile(path, '');
    await chown(path, uid, uid);
    const result = await run(['dd', 'if=/dev/zero', `of=${path}`, 'bs=1k', 'count=64'], { fileBytes: 8_192 });
    expect(result.exitCode).not.toBe(0);
    expect((await stat(path)).size).toBe(8_192);
  });

  it('gets no more memory and processor time than its limits, and leaves no core', async () => {
    const memory = await run(['dd', 'if=/dev/zero', 'of=/dev/null', 'bs=512M', 'count=1'], {
      addressSpaceBytes: 256 * 1024 ** 2,
    });
    expect(memory.stderr).toContain('memory exhausted');
    expect((await run(['sh', '-c', 'while :; do :; done'], { cpuSeconds: 1 })).signal).toBe('SIGKILL');
    expect((await run(['sh', '-c', 'ulimit -c'])).stdout).toBe('0\n');
  });

  it('cannot open what is not its own', async () => {
    const path = join(directory, 'secret');
    await writeFile(path, 'secret', { mode: 0o600 });
    expect(await run(['cat', path])).toMatchObject({ exitCode: 1, stdout: '' });
  });

  it('is the process that was started: killing that ends it', async () => {
    const words = [...confinedLauncher(confinement(), {}), 'sh', '-c', 'echo $$; exec sleep 600'];
    const child = spawn(words[0] ?? '', words.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
    const exited = once(child, 'exit');
    const [said] = (await once(child.stdout, 'data', { signal: AbortSignal.timeout(timeoutMs) })) as [Buffer];
    expect(Number(said)).toBe(child.pid);
    child.kill('SIGKILL');
    expect(await exited).toEqual([null, 'SIGKILL']);
  });

  it('ends with the one who started it', async () => {
    const words = [...confinedLauncher(confinement(), {}), 'sh', '-c', 'echo $$; exec sleep 600'];
    const text = `const [program, ...words] = ${JSON.stringify(words)};
      import('node:child_process').then(({ spawn }) => spawn(program, words, { stdio: ['ignore', 'inherit', 'inherit'] }));`;
    const parent = spawn(process.execPath, ['-e', text], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [said] = (await once(parent.stdout, 'data', { signal: AbortSignal.timeout(timeoutMs) })) as [
      Buffer,
    ];
    const pid = Number(said);
    expect(isRunning(pid)).toBe(true);
    parent.kill('SIGKILL');
    // The pipe closes when the last of the two has gone.
    await once(parent, 'close', { signal: AbortSignal.timeout(timeoutMs) });
    // Who inherits it clears it away in its own time, and tells nobody.
    const deadline = AbortSignal.timeout(timeoutMs);
    while (isRunning(pid)) {
      deadline.throwIfAborted();
      await new Promise((resolve) => setImmediate(resolve));
    }
  });

  it('is in the control groups it was given, and does not run without them', async () => {
    const group = await makeGroup();
    try {
      const { stdout } = await run(['cat', '/proc/self/cgroup'], {}, [join(group, 'cgroup.procs')]);
      expect(stdout).toContain(`/wirt-confined-test-${process.pid}`);
    } finally {
      await rmdir(group);
    }
    const marker = join(directory, 'ran');
    const refused = await run(['touch', marker], {}, [join(directory, 'nowhere', 'cgroup.procs')]);
    expect(refused.exitCode).toBe(cannotJoinStatus);
    await expect(readFile(marker)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('leaves nothing behind in its control groups, also what has left its parent and its session', async () => {
    const group = await makeGroup();
    const joinFiles = [join(group, 'cgroup.procs')];
    try {
      const { stdout } = await run(
        ['setsid', '--fork', 'sh', '-c', 'echo $$; exec sleep 600 > /dev/null 2>&1'],
        {},
        joinFiles,
      );
      const pid = Number(stdout);
      expect(isRunning(pid)).toBe(true);
      await endConfined(confinement(joinFiles));
      expect(isRunning(pid)).toBe(false);
    } finally {
      await rmdir(group);
    }
  });

  it('is not looked for in a file that is no control group’s', async () => {
    const file = join(directory, 'cgroup.procs');
    await writeFile(file, '0\n1\n\n');
    await endConfined(confinement([file, join(directory, 'nowhere', 'cgroup.procs')]));
  });
});

async function makeGroup(): Promise<string> {
  const mounts = parseCgroupMounts(readFileSync('/proc/self/mountinfo', 'utf8'), '/sys/fs/cgroup');
  const mount = mounts.find(({ version, controllers, readOnly }) =>
    version === 'v2' ? !readOnly : controllers.includes('memory'),
  );
  expect(mount).toBeDefined();
  const group = join(mount?.mountPoint ?? '', `wirt-confined-test-${process.pid}`);
  await mkdir(group);
  return group;
}
