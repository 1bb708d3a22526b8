import { describe, expect, it } from 'vitest';
import { anInstance, doneOperation, runWirt, startScriptedDaemon } from '../scripted-daemon.ts';

async function ran(...argv: string[]) {
  await using daemon = await startScriptedDaemon({
    'POST /v1/instances': () => ({ status: 202, json: doneOperation }),
    [`GET /v1/instances/${anInstance.id}`]: () => ({ json: anInstance }),
  });
  const result = await runWirt(['run', ...argv], { daemon });
  return { ...result, asked: daemon.asked[0], lines: daemon.lines };
}

describe('wirt run', () => {
  it('leaves to the contract what was not said', async () => {
    const { code, stdout, asked } = await ran('micro');
    expect([code, stdout]).toEqual([0, 'demo is running\n']);
    expect(asked?.json).toEqual({
      labels: {},
      spec: { image: 'micro', autostart: false, overcommit: false },
      start: true,
      startPaused: false,
    });
    expect(asked?.headers['idempotency-key']).toBeDefined();
  });

  it('passes on everything that was said', async () => {
    const { code, asked } = await ran(
      ...['micro', 'web-1', '--cpus', '4', '--memory', '1.5G', '--label', 'tier=web', '-l', 'a.b/c=x=y'],
      ...['--restart', 'on-failure', '--autostart', '--overcommit', '--machine', 'microvm', '--accel', 'tcg'],
      ...['--cpu', 'max', '--nic', 'none', '--paused'],
    );
    expect(code).toBe(0);
    expect(asked?.json).toEqual({
      name: 'web-1',
      labels: { tier: 'web', 'a.b/c': 'x=y' },
      spec: {
        image: 'micro',
        cpus: 4,
        memoryMib: 1536,
        restart: 'on-failure',
        machine: 'microvm',
        accelerator: 'tcg',
        cpuModel: 'max',
        nics: [],
        autostart: true,
        overcommit: true,
      },
      start: true,
      startPaused: true,
    });
  });

  it('prints the record, or the operation when it does not wait', async () => {
    expect(JSON.parse((await ran('micro', '-o', 'json')).stdout)).toEqual(anInstance);
    const left = await ran('micro', '--wait', 'none', '-o', 'json');
    expect(JSON.parse(left.stdout)).toEqual(doneOperation);
    expect(left.lines).toEqual(['POST /v1/instances']);
    expect((await ran('micro', '-o', 'name', '--wait', 'ready')).stdout).toBe('demo\n');
  });

  it.each([
    [['micro', '--nic', 'none', '--nic', 'user'], '--nic none excludes every other --nic.'],
    [['micro', '--paused', '--wait', 'ready'], 'A paused guest does not get ready'],
    [['micro', '--cpus', '0'], '--cpus must be from 1 to 4096, and is 0.'],
    [['micro', '--memory', '2GB'], '--memory counts in powers of 1024: write 2G or 2GiB.'],
  ])('refuses %j', async (argv, reason) => {
    const { code, stderr, lines } = await ran(...argv);
    expect(code).toBe(2);
    expect(stderr).toContain(reason);
    expect(lines).toEqual([]);
  });
});
