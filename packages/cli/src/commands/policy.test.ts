import { describe, expect, it } from 'vitest';
import { anInstance, problem, runWirt, startScriptedDaemon } from '../scripted-daemon.ts';

const gold = {
  id: '01KATESTTESTTESTTESTTESTQ1',
  name: 'gold',
  project: 'default',
  labels: { team: 'web' },
  revision: 3,
  createdAt: '2026-11-22T10:00:00Z',
  spec: {
    description: 'Paying customers',
    limits: {
      cpu: { cores: 2 },
      memory: { ceilingMib: 'auto' },
      eachDisk: { readBytes: { rate: 10_485_760, burst: 52_428_800, burstSeconds: 10 } },
      eachNic: { egress: { bytesPerSecond: 12_500_000 } },
    },
  },
  status: { instances: ['demo', 'web'] },
};

const users = [
  {
    ...anInstance,
    spec: { ...anInstance.spec, policy: 'gold', limits: { cpu: { cores: 4, weight: 300 } } },
    status: { ...anInstance.status, limits: { effective: {} } },
  },
  {
    ...anInstance,
    name: 'web',
    spec: { ...anInstance.spec, policy: 'gold' },
    status: {
      ...anInstance.status,
      limits: {
        effective: {},
        drifted: [{ key: 'disk.root.read', wanted: '10485760', found: '1', why: 'QEMU does not answer' }],
      },
    },
  },
  { ...anInstance, name: 'other' },
];

describe('wirt policy', () => {
  it('ls shows the limits as they are typed', async () => {
    await using daemon = await startScriptedDaemon({
      'GET /v1/policies': () => ({ json: { items: [gold] } }),
    });
    const limits = 'cpu.cores=2 memory.ceiling=auto each-disk.read=10MiB:50MiB/10s network.egress=100Mbit';
    expect((await runWirt(['policy', 'ls'], { daemon })).stdout).toBe(
      [
        `NAME  INSTANCES  ${'LIMITS'.padEnd(limits.length)}  DESCRIPTION`,
        `gold  2          ${limits}  Paying customers`,
        '',
      ].join('\n'),
    );
    await using none = await startScriptedDaemon({ 'GET /v1/policies': () => ({ json: { items: [] } }) });
    expect((await runWirt(['policy', 'ls'], { daemon: none })).stdout).toContain('wirt policy create gold');
  });

  it('show has its values, who has it, what they have instead, and where it is not in force', async () => {
    await using daemon = await startScriptedDaemon({
      'GET /v1/policies/gold': () => ({ json: gold }),
      'GET /v1/instances': () => ({ json: { items: users } }),
    });
    const { stdout } = await runWirt(['policy', 'show', 'gold'], { daemon });
    expect(stdout).toMatch(/each-disk\.read +10MiB:50MiB\/10s\n/);
    expect(stdout).toMatch(/demo +running +cpu\.cores=4 +in force\n/);
    expect(stdout).toMatch(
      /web +running +- +disk\.root\.read drifted, Wirt goes on trying: QEMU does not answer\n/,
    );
    expect(stdout).not.toContain('other');
    const json = await runWirt(['policy', 'show', 'gold', '-o', 'json'], { daemon });
    expect(JSON.parse(json.stdout)).toEqual(gold);
  });

  it('show names who has it where nothing more can be read', async () => {
    await using daemon = await startScriptedDaemon({ 'GET /v1/policies/gold': () => ({ json: gold }) });
    const { code, stdout } = await runWirt(['policy', 'show', 'gold'], { daemon });
    expect(code).toBe(0);
    expect(stdout).toMatch(/demo +\?/);
  });

  it('create takes keys of limits, and refuses those of one instance before it asks anything', async () => {
    await using daemon = await startScriptedDaemon({
      'POST /v1/policies': () => ({ status: 201, json: { ...gold, status: { instances: [] } } }),
    });
    const argv = ['policy', 'create', 'gold', 'cpu.limit=2', 'memory.ceiling=auto', '-l', 'team=web'];
    const { stdout } = await runWirt([...argv, '--description', 'Paying'], { daemon });
    expect(stdout).toContain('No instance has it. Give it to one: wirt set NAME policy=gold.');
    expect(daemon.asked[0]?.json).toEqual({
      name: 'gold',
      description: 'Paying',
      labels: { team: 'web' },
      limits: { cpu: { cores: 2 }, memory: { ceilingMib: 'auto' } },
    });
    for (const wrong of ['cpus=2', 'disk.root.read=1MiB', 'cpu.limit=', 'cpu.limit=x', 'cpu.limt=2'])
      expect(await runWirt(['policy', 'create', 'x', wrong], { daemon }), wrong).toMatchObject({ code: 2 });
    expect(daemon.asked).toHaveLength(1);
  });

  it('set changes values and takes them out, in one request', async () => {
    await using daemon = await startScriptedDaemon({
      'PATCH /v1/policies/gold': () => ({ json: gold }),
      'GET /v1/instances': () => ({ json: { items: users } }),
    });
    const { stdout } = await runWirt(['policy', 'set', 'gold', 'cpu.limit=3', 'network.egress='], { daemon });
    expect(stdout).toContain('in force');
    expect(daemon.asked[0]?.json).toEqual({
      limits: { cpu: { cores: 3 }, eachNic: { egress: { bytesPerSecond: null } } },
    });
    expect(await runWirt(['policy', 'set', 'gold'], { daemon })).toMatchObject({ code: 2 });
  });

  it('rm tells each failure', async () => {
    await using daemon = await startScriptedDaemon({
      'DELETE /v1/policies/a': () => ({}),
      'DELETE /v1/policies/gold': () => problem(409, 'policy.in_use', 'demo and web have gold.'),
    });
    expect(await runWirt(['policy', 'rm', 'a', 'gold'], { daemon })).toEqual({
      code: 4,
      stdout: 'Policy a is removed\n',
      stderr: 'wirt: demo and web have gold.\n',
    });
  });
});
