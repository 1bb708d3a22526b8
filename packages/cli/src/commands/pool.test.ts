import { describe, expect, it } from 'vitest';
import { problem, runWirt, startScriptedDaemon } from '../scripted-daemon.ts';

const gib = 1024 ** 3;
const pool = {
  id: '01KATESTTESTTESTTESTTESTL1',
  name: 'fast',
  project: 'default',
  labels: {},
  revision: 2,
  createdAt: '2026-11-22T10:00:00Z',
  spec: { driver: 'dir', path: '/mnt/nvme/wirt', reservePercent: 5 },
  status: {
    state: 'ready',
    capacityBytes: 100 * gib,
    availableBytes: 60 * gib,
    reserveBytes: 5 * gib,
    allocatedBytes: 30 * gib,
    provisionedBytes: 125 * gib,
    overcommit: 1.25,
    volumes: 3,
  },
};
const unusable = {
  ...pool,
  name: 'lost',
  status: { state: 'unusable', message: 'It is gone.', provisionedBytes: 0, volumes: 0 },
};

describe('wirt pool', () => {
  it('ls shows capacity, what is free, allocated and provisioned, and how far that is too much', async () => {
    await using daemon = await startScriptedDaemon({
      'GET /v1/pools': () => ({ json: { items: [pool, unusable] } }),
    });
    const { stdout, stderr } = await runWirt(['pool', 'ls'], { daemon });
    expect(stderr).toBe('Pool lost cannot be used: It is gone.\n');
    expect(stdout).toBe(
      [
        'NAME  STATE     CAPACITY  FREE      ALLOCATED  PROVISIONED  OVERCOMMIT  VOLUMES  PATH',
        'fast  ready     100 GiB   60.0 GiB  30.0 GiB   125 GiB      125 %       3        /mnt/nvme/wirt',
        'lost  unusable  -         -         -          0 B          -           0        /mnt/nvme/wirt',
        '',
      ].join('\n'),
    );
  });

  it('show has the reserve, or why it cannot be used', async () => {
    await using daemon = await startScriptedDaemon({
      'GET /v1/pools/fast': () => ({ json: pool }),
      'GET /v1/pools/lost': () => ({ json: unusable }),
    });
    expect((await runWirt(['pool', 'show', 'fast'], { daemon })).stdout).toMatch(/Reserve +5 %, 5\.0 GiB/);
    expect((await runWirt(['pool', 'show', 'lost'], { daemon })).stdout).toMatch(/Why +It is gone\./);
  });

  it('create names the directory by its absolute path', async () => {
    await using daemon = await startScriptedDaemon({ 'POST /v1/pools': () => ({ status: 201, json: pool }) });
    const argv = ['pool', 'create', 'fast', '--path', './volumes', '--reserve', '10'];
    const { code, stdout } = await runWirt(argv, { daemon });
    expect([code, stdout]).toEqual([0, 'Pool fast is in /mnt/nvme/wirt, 60.0 GiB free\n']);
    expect(daemon.asked[0]?.json).toEqual({
      name: 'fast',
      spec: { path: `${process.cwd()}/volumes`, reservePercent: 10 },
    });
    expect(await runWirt(['pool', 'create', 'fast'], { daemon })).toMatchObject({ code: 2 });
  });

  it('rm gives up those without volumes, and tells each failure', async () => {
    await using daemon = await startScriptedDaemon({
      'DELETE /v1/pools/a': () => ({}),
      'DELETE /v1/pools/b': () => problem(409, 'pool.in_use', 'Pool b has 2 volumes.'),
    });
    expect(await runWirt(['pool', 'rm', 'b', 'a'], { daemon })).toEqual({
      code: 4,
      stdout: 'Pool a is given up\n',
      stderr: 'wirt: Pool b has 2 volumes.\n',
    });
  });
});
