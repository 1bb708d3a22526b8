import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { anInstance, startScriptedDaemon } from './scripted-daemon.ts';

const main = new URL('./main.ts', import.meta.url).pathname;

describe('the process', () => {
  let cache: string;
  beforeEach(() => {
    cache = mkdtempSync(join(tmpdir(), 'wirt-cache-'));
  });
  afterEach(() => rmSync(cache, { recursive: true }));

  const env = (more: object = {}) => ({ PATH: process.env['PATH'], XDG_CACHE_HOME: cache, ...more });

  it('ends with the exit code and both streams written', () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [main, 'rnu'], {
      env: env(),
      encoding: 'utf8',
    });
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toContain('Did you mean `wirt run`?');
  });

  it('writes long output whole into a pipe', async () => {
    const items = Array.from({ length: 2000 }, (_, at) => ({ ...anInstance, name: `guest-${at}` }));
    await using daemon = await startScriptedDaemon({ 'GET /v1/instances': () => ({ json: { items } }) });
    const child = spawn(process.execPath, [main, 'ls', '-o', 'json'], {
      env: env({ WIRT_SOCKET: daemon.socketPath }),
    });
    let text = '';
    for await (const chunk of child.stdout) text += String(chunk);
    expect((JSON.parse(text) as unknown[]).length).toBe(2000);
  });

  it('ends quietly when nobody reads on', async () => {
    const items = Array.from({ length: 5000 }, (_, at) => ({ ...anInstance, name: `guest-${at}` }));
    await using daemon = await startScriptedDaemon({ 'GET /v1/instances': () => ({ json: { items } }) });
    const child = spawn('sh', ['-c', `"$0" "$1" ls | head -1`, process.execPath, main], {
      env: env({ WIRT_SOCKET: daemon.socketPath }),
    });
    let [text, errors] = ['', ''];
    child.stderr.on('data', (chunk: Buffer) => {
      errors += chunk.toString();
    });
    for await (const chunk of child.stdout) text += String(chunk);
    expect([text.split('\n').length, errors]).toEqual([2, '']);
  });

  it('keeps its compile cache in a folder that only this user writes to', () => {
    spawnSync(process.execPath, [main, '--version'], { env: env() });
    // Root's is in /var/cache, whatever the environment says.
    const root = process.getuid?.() === 0;
    expect(readdirSync(root ? '/var/cache' : cache)).toContain('wirt');
  });
});
