import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runWirt, startScriptedDaemon } from '../scripted-daemon.ts';

const found = {
  architecture: 'x86_64',
  accelerator: 'tcg',
  qemuVersion: '7.2.22',
  vendor: 'AuthenticAMD',
  features: ['aes', 'sse'],
  unmigratable: ['invtsc'],
  models: [
    { name: 'Old-v1', vendor: 'AuthenticAMD', features: ['sse'], unavailable: [] },
    { name: 'New-v1', vendor: 'AuthenticAMD', features: ['avx', 'sse'], unavailable: ['avx'] },
  ],
  aliases: { Old: 'Old-v1' },
};
const computed = {
  cpuModel: 'Old-v1,+aes',
  model: 'Old-v1',
  added: ['aes'],
  removed: [],
  features: ['aes', 'sse'],
  lost: [['avx'], []],
};

let directory = '';
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'wirt-cpu-'));
});
afterAll(() => rm(directory, { recursive: true }));

describe('wirt host cpu', () => {
  it('shows what guests can have, and the models that have no more', async () => {
    await using daemon = await startScriptedDaemon({ 'GET /v1/host/cpu': () => ({ json: found }) });
    const { stdout } = await runWirt(['host', 'cpu', '--accel', 'tcg'], { daemon });
    expect(stdout).toMatch(/Features\s+aes sse\n/);
    expect(stdout).toMatch(/Cannot migrate\s+invtsc\n/);
    expect(stdout).toMatch(/Models\s+Old-v1\n/);
    expect(daemon.asked.at(-1)?.query).toEqual({ accelerator: 'tcg' });
  });
});

describe('wirt host cpu-baseline', () => {
  it('sends what hosts printed, and shows a model that can be given to a guest', async () => {
    const files = [join(directory, 'a.json'), join(directory, 'b.json')];
    for (const file of files) await writeFile(file, JSON.stringify(found));
    await using daemon = await startScriptedDaemon({
      'POST /v1/host/cpu-baseline': () => ({ json: computed }),
    });
    const run = (...more: string[]) => runWirt(['host', 'cpu-baseline', ...files, ...more], { daemon });
    const { stdout } = await run();
    expect(stdout).toMatch(/CPU model\s+Old-v1,\+aes\n/);
    expect(stdout).toMatch(/Lost on \S+a\.json\s+avx\n/);
    expect(daemon.asked.at(-1)?.json).toEqual({ hosts: [found, found] });
    expect((await run('-o', 'name')).stdout).toBe('Old-v1,+aes\n');
  });

  it('names the file that is none', async () => {
    const file = join(directory, 'none.json');
    await writeFile(file, 'no JSON');
    await using daemon = await startScriptedDaemon({});
    const { stderr, code } = await runWirt(['host', 'cpu-baseline', file], { daemon });
    expect(code).not.toBe(0);
    expect(stderr).toContain('none.json');
  });
});
