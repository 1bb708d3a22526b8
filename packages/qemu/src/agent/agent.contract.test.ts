import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, watch, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { agentHostName, agentInfo, agentInterfaces, agentOsInfo, agentPing } from './commands.ts';
import { type AgentConnection, connectAgent } from './connection.ts';
import { agentExec } from './exec.ts';
import { agentReadFile, agentWriteFile } from './file.ts';

// The real agent as an ordinary process on a Unix socket: this machine is its guest.
const candidates = [process.env['QEMU_GA'], 'qemu-ga', '/usr/sbin/qemu-ga'].filter(
  (name) => name !== undefined,
);
const binary = candidates.find((name) => !spawnSync(name, ['--version']).error);
const skipped = binary ? '' : ' (skipped: no qemu-ga in QEMU_GA or PATH)';

describe.skipIf(!binary)(`a real guest agent${skipped}`, () => {
  let directory: string;
  let daemon: ChildProcess;
  let agent: AgentConnection;
  const timeoutMs = 20_000;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'qemu-ga-'));
    const path = join(directory, 'socket');
    const appeared = waitForFile(directory, 'socket');
    const args = ['-m', 'unix-listen', '-p', path, '-f', join(directory, 'pid'), '-t', directory];
    daemon = spawn(binary ?? '', args, { stdio: ['ignore', 'ignore', 'inherit'] });
    await appeared;
    agent = await connectOnceListening(path);
  });

  afterAll(async () => {
    await agent?.close();
    if (daemon?.kill('SIGKILL')) await once(daemon, 'exit');
    await rm(directory, { recursive: true, force: true });
  });

  test('answers and tells of itself and its guest', async () => {
    await agentPing(agent, { timeoutMs });
    const info = await agentInfo(agent);
    expect(info.version).toMatch(/^\d+\.\d+/);
    expect(info.commands).toContainEqual({ name: 'guest-exec', enabled: true });
    expect(await agentHostName(agent)).toMatch(/./);
    expect((await agentOsInfo(agent))['kernel-release']).toMatch(/^\d+\./);
    const loopback = (await agentInterfaces(agent)).find((one) => one.name === 'lo');
    expect(loopback?.addresses).toContainEqual({ address: '127.0.0.1', family: 'ipv4', prefix: 8 });
  });

  test('runs a program with arguments, environment and input, and gives its output and exit code', async () => {
    const script = 'read line; printf "%s|%s|%s" "$line" "$1" "$A"; echo bad >&2; exit 3';
    const result = await agentExec(agent, {
      argv: ['/bin/sh', '-c', script, 'sh', 'with "quotes" $HOME'],
      env: { A: 'b=c' },
      stdin: Buffer.from('hello\n'),
      timeoutMs,
    });
    expect(result.stdout.toString()).toBe('hello|with "quotes" $HOME|b=c');
    expect(result.stderr.toString()).toBe('bad\n');
    expect(result).toMatchObject({ exitCode: 3, signal: undefined, truncated: false });
  });

  test('tells a signal from an exit code, and a program that is not there from both', async () => {
    const killed = await agentExec(agent, { argv: ['/bin/sh', '-c', 'kill -9 $$'], timeoutMs });
    expect(killed).toMatchObject({ exitCode: undefined, signal: 9 });
    await expect(agentExec(agent, { argv: ['/nonexistent'], timeoutMs })).rejects.toMatchObject({
      code: 'agent_error',
      desc: expect.stringContaining('No such file or directory'),
    });
  });

  test('frees its caller at the deadline and on abort, and is in order afterwards', async () => {
    const argv: [string, ...string[]] = ['/bin/sleep', '2'];
    await expect(agentExec(agent, { argv, timeoutMs: 100 })).rejects.toMatchObject({ code: 'agent_timeout' });
    const signal = AbortSignal.timeout(50);
    await expect(agentExec(agent, { argv, timeoutMs, signal })).rejects.toThrow('timeout');
    expect((await agentExec(agent, { argv: ['/bin/echo', 'x'], timeoutMs })).stdout.toString()).toBe('x\n');
  });

  test('that is stopped misses the deadline, and its late answers are taken for no other', async () => {
    daemon.kill('SIGSTOP');
    await expect(agentInfo(agent, { timeoutMs: 100 })).rejects.toMatchObject({ code: 'agent_timeout' });
    await expect(agentOsInfo(agent, { timeoutMs: 100 })).rejects.toMatchObject({ code: 'agent_timeout' });
    daemon.kill('SIGCONT');
    expect(await agentHostName(agent, { timeoutMs })).toMatch(/./);
  });

  test('gives megabytes of output, and no more than allowed', async () => {
    const argv: [string, ...string[]] = ['/usr/bin/head', '-c', '3000000', '/dev/zero'];
    expect((await agentExec(agent, { argv, timeoutMs })).stdout.length).toBe(3_000_000);
    await expect(agentExec(agent, { argv, timeoutMs, maxOutputBytes: 1_000_000 })).rejects.toMatchObject({
      code: 'agent_too_large',
    });
    await agentPing(agent, { timeoutMs });
  });

  test('writes and reads a file, whole and in pieces', async () => {
    const content = randomBytes(1_000_003);
    const path = join(directory, 'written file');
    expect(
      await agentWriteFile(agent, { path, content: [content.subarray(0, 7), content.subarray(7)] }),
    ).toBe(content.length);
    expect((await readFile(path)).equals(content)).toBe(true);
    const read = await Array.fromAsync(agentReadFile(agent, { path, chunkBytes: 100_000 }));
    expect(Buffer.concat(read).equals(content)).toBe(true);
    await agentWriteFile(agent, { path, content: [Buffer.from('end')], append: true });
    expect((await readFile(path)).subarray(-3).toString()).toBe('end');
  });

  test('reads empty files and files without a size, and says why it reads none', async () => {
    const empty = join(directory, 'empty');
    await writeFile(empty, '');
    expect(await Array.fromAsync(agentReadFile(agent, { path: empty }))).toEqual([]);
    const status = await Array.fromAsync(agentReadFile(agent, { path: '/proc/self/status' }));
    expect(Buffer.concat(status).toString()).toMatch(/^Name:\tqemu-ga$/m);
    const missing = Array.fromAsync(agentReadFile(agent, { path: join(directory, 'missing') }));
    await expect(missing).rejects.toThrow('No such file or directory');
  });
});

async function waitForFile(directory: string, name: string): Promise<void> {
  for await (const { filename } of watch(directory, { signal: AbortSignal.timeout(20_000) })) {
    if (filename === name) return;
  }
}

/** The socket's file is there a moment before anybody listens. */
async function connectOnceListening(path: string): Promise<AgentConnection> {
  const end = performance.now() + 20_000;
  for (;;) {
    try {
      return await connectAgent({ path });
    } catch (error) {
      if (performance.now() > end) throw error;
    }
  }
}
