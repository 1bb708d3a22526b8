import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { anInstance, startScriptedDaemon } from './scripted-daemon.ts';

const main = new URL('./main.ts', import.meta.url).pathname;

/** Every file that the file imports by a static import, itself included, and what they import from elsewhere. */
function loads(file: string, files = new Set<string>(), others = new Set<string>()) {
  if (files.has(file)) return { files, others };
  files.add(file);
  const text = readFileSync(file, 'utf8');
  for (const [, typeOnly, from = ''] of text.matchAll(/^(?:import|export)( type)? [^;]*?from '([^']+)';/gm)) {
    if (typeOnly !== undefined) continue;
    if (from.startsWith('.')) loads(join(dirname(file), from), files, others);
    else others.add(from);
  }
  return { files, others };
}

describe('wirt ls', () => {
  it('loads nothing that it does not need: no package but the client, and no node: module by import', () => {
    const loaded = { files: new Set<string>(), others: new Set<string>() };
    for (const file of ['program.ts', 'commands/instance.ts'])
      loads(join(dirname(main), file), loaded.files, loaded.others);
    expect([...loaded.others].sort()).toEqual([
      '@wirt/api/client',
      '@wirt/api/cpu-list',
      '@wirt/api/errors',
      '@wirt/api/instance-can',
    ]);
    const names = [...loaded.files].map((file) => basename(file));
    expect(names).toEqual(expect.arrayContaining(['transport.ts', 'print.ts', 'parse.ts', 'catalogue.ts']));
    for (const unneeded of ['help.ts', 'failure.ts', 'wait.ts', 'progress.ts'])
      expect(names).not.toContain(unneeded);
  });
});

describe('the process', () => {
  // Without the cache, which would stay behind.
  const env = (more: object = {}) => ({
    PATH: process.env['PATH'],
    NODE_DISABLE_COMPILE_CACHE: '1',
    ...more,
  });

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
});
