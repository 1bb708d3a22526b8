import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { problem, runWirt, type Script, startScriptedDaemon } from '../scripted-daemon.ts';
import { parsePlace } from './guest-copy.ts';

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const terminal = { columns: 80, rows: 25 };

describe('wirt logs', () => {
  const bytes = 'boot\x1b[2J\x1b[31mred\x1b[0m\n';
  const scripts: Record<string, Script> = { 'GET /v1/instances/demo/logs': () => ({ bytes }) };

  it('passes every byte into a pipe, and only text and colours to a terminal', async () => {
    await using daemon = await startScriptedDaemon(scripts);
    expect((await runWirt(['logs', 'demo'], { daemon })).stdout).toBe(bytes);
    expect((await runWirt(['logs', 'demo'], { daemon, terminal })).stdout).toBe('boot\x1b[31mred\x1b[0m\n');
    expect((await runWirt(['logs', 'demo', '--raw'], { daemon, terminal })).stdout).toBe(bytes);
  });

  it('asks for what was asked', async () => {
    await using daemon = await startScriptedDaemon(scripts);
    await runWirt(['logs', 'demo', '-f'], { daemon });
    await runWirt(['logs', 'demo', '--qemu'], { daemon });
    expect(daemon.asked.map(({ query }) => query)).toEqual([
      { source: 'console', follow: 'true' },
      { source: 'qemu', follow: 'false' },
    ]);
    expect((await runWirt(['logs', 'demo', '--qemu', '-f'], { daemon })).code).toBe(2);
  });
});

describe('wirt exec', () => {
  const path = 'POST /v1/instances/demo/exec';
  const result = { exitCode: 0, stdout: base64('out\n'), stderr: base64('err\n'), truncated: false };

  it('passes output, errors and exit code through', async () => {
    await using daemon = await startScriptedDaemon({ [path]: () => ({ json: { ...result, exitCode: 7 } }) });
    expect(await runWirt(['exec', 'demo', '--', 'ls', '-l', '--all'], { daemon })).toEqual({
      code: 7,
      stdout: 'out\n',
      stderr: 'err\n',
    });
    expect(daemon.asked[0]?.json).toEqual({ argv: ['ls', '-l', '--all'], timeoutSeconds: 60 });
  });

  it('passes environment, standard input and time on', async () => {
    await using daemon = await startScriptedDaemon({ [path]: () => ({ json: result }) });
    const argv = ['exec', 'demo', '-i', '-e', 'A=1', '--env', 'B=2=3', '--timeout', '5m', '--', 'sort', ''];
    await runWirt(argv, { daemon, input: 'b\na\n' });
    expect(daemon.asked[0]?.json).toEqual({
      argv: ['sort', ''],
      env: ['A=1', 'B=2=3'],
      stdin: base64('b\na\n'),
      timeoutSeconds: 300,
    });
  });

  it('is 128 and the number of the signal that ended the program', async () => {
    const { exitCode: _, ...killed } = { ...result, signal: 9 };
    await using daemon = await startScriptedDaemon({ [path]: () => ({ json: killed }) });
    expect((await runWirt(['exec', 'demo', 'x'], { daemon })).code).toBe(137);
  });

  it('prints the answer for programs, and says when it was cut', async () => {
    await using daemon = await startScriptedDaemon({
      [path]: () => ({ json: { ...result, truncated: true } }),
    });
    const asJson = await runWirt(['exec', 'demo', '-o', 'json', '--', 'x'], { daemon });
    expect(JSON.parse(asJson.stdout)).toMatchObject({ stdout: base64('out\n'), truncated: true });
    expect((await runWirt(['exec', 'demo', 'x'], { daemon })).stderr).toContain('the output was cut');
  });

  it('has its own exit codes for its own failures', async () => {
    const refused = () => problem(409, 'guest.agent_unavailable', 'No agent answers in demo.');
    await using daemon = await startScriptedDaemon({ [path]: refused });
    expect(await runWirt(['exec', 'demo', 'x'], { daemon })).toMatchObject({ code: 4, stdout: '' });
  });

  it('refuses more standard input than the contract takes, and names the way', async () => {
    await using daemon = await startScriptedDaemon({});
    const input = Buffer.alloc(9_000_001);
    const { code, stderr } = await runWirt(['exec', 'demo', '-i', 'cat'], { daemon, input });
    expect(code).toBe(2);
    expect(stderr).toContain('wirt cp');
    expect(daemon.lines).toEqual([]);
  });
});

describe('wirt cp', () => {
  const path = '/v1/instances/demo/files';
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'wirt-cp-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('copies a file into the guest, under its own name into a folder', async () => {
    await using daemon = await startScriptedDaemon({ [`PUT ${path}`]: () => ({}) });
    await writeFile(join(folder, 'a.conf'), 'content');
    const { code, stdout } = await runWirt(['cp', join(folder, 'a.conf'), 'demo:/etc/'], { daemon });
    expect([code, stdout]).toEqual([0, `${join(folder, 'a.conf')} → demo:/etc/a.conf, 7 B\n`]);
    expect(daemon.asked[0]).toMatchObject({ query: { path: '/etc/a.conf' } });
    expect(daemon.asked[0]?.body.toString()).toBe('content');
  });

  it('copies standard input into the guest, and a file to standard output', async () => {
    await using daemon = await startScriptedDaemon({
      [`PUT ${path}`]: () => ({}),
      [`GET ${path}`]: () => ({ bytes: 'got' }),
    });
    expect((await runWirt(['cp', '-', 'demo:/x'], { daemon, input: 'piped' })).code).toBe(0);
    expect(daemon.asked[0]?.body.toString()).toBe('piped');
    expect(await runWirt(['cp', 'demo:/x', '-'], { daemon })).toEqual({ code: 0, stdout: 'got', stderr: '' });
  });

  it('copies a file out of the guest, into a folder under its own name', async () => {
    await using daemon = await startScriptedDaemon({ [`GET ${path}`]: () => ({ bytes: 'got' }) });
    expect((await runWirt(['cp', 'demo:/var/log/messages', folder], { daemon })).code).toBe(0);
    expect(await readFile(join(folder, 'messages'), 'utf8')).toBe('got');
    expect(daemon.asked[0]?.query).toEqual({ path: '/var/log/messages' });
  });

  it('leaves what was there when the copy breaks off, and nothing half done', async () => {
    await using daemon = await startScriptedDaemon({
      [`GET ${path}`]: (_, response) => {
        response.writeHead(200, { 'content-length': '100' });
        response.write('half', () => response.destroy());
        return undefined;
      },
    });
    await writeFile(join(folder, 'kept'), 'old');
    const { code, stderr } = await runWirt(['cp', 'demo:/x', join(folder, 'kept')], { daemon });
    expect(code).toBe(5);
    expect(stderr).toContain('The connection to wirtd');
    expect(await readFile(join(folder, 'kept'), 'utf8')).toBe('old');
    expect(await readdir(folder)).toEqual(['kept']);
  });

  it.each([
    [['a', 'b'], 'Neither side of wirt cp is in a guest.'],
    [['a:/x', 'b:/y'], 'wirt cp does not copy from guest to guest.'],
    [['/nowhere/at/all', 'a:/x'], 'wirt cp could not read /nowhere/at/all.'],
    [[tmpdir(), 'a:/x'], 'is a folder, and wirt cp copies one file.'],
    [['-', 'a:/x/'], 'names no file.'],
  ])('refuses %j', async (argv, reason) => {
    const { code, stderr } = await runWirt(['cp', ...argv]);
    expect(code).toBe(2);
    expect(stderr).toContain(reason);
  });

  it('tells guests from files', () => {
    expect(parsePlace('demo:/etc/x:y')).toEqual({ kind: 'guest', instance: 'demo', path: '/etc/x:y' });
    expect(parsePlace('./demo:/x')).toEqual({ kind: 'file', path: './demo:/x' });
    expect(parsePlace('demo:x')).toEqual({ kind: 'file', path: 'demo:x' });
    expect(parsePlace('-')).toEqual({ kind: 'standard' });
  });
});
