import { describe, expect, it } from 'vitest';
import { anInstance, doneOperation, runWirt, startScriptedDaemon } from '../scripted-daemon.ts';
import { anImage } from '../scripted-records.ts';

async function ran(...argv: string[]) {
  await using daemon = await startScriptedDaemon({
    'POST /v1/instances': () => ({ status: 202, json: doneOperation }),
    [`GET /v1/instances/${anInstance.id}`]: () => ({ json: anInstance }),
    'GET /v1/images/micro': () => ({ json: anImage }),
  });
  const result = await runWirt(['run', ...argv], { daemon });
  const asked = daemon.asked.find(({ method }) => method === 'POST')?.json as { spec?: object } | undefined;
  return { ...result, spec: asked?.spec, lines: daemon.lines };
}

describe('wirt run with limits', () => {
  it('gives the instance a policy, and limits of its own', async () => {
    const { code, spec } = await ran(
      ...['micro', '--policy', 'gold', '--set', 'cpu.limit=1.5', '--set', 'max-memory=4G'],
      ...['--set', 'each-disk.total=50MiB', '--set', 'memory.ceiling=auto'],
    );
    expect(code).toBe(0);
    expect(spec).toMatchObject({
      policy: 'gold',
      maxMemoryMib: 4096,
      limits: {
        cpu: { cores: 1.5 },
        memory: { ceilingMib: 'auto' },
        eachDisk: { totalBytes: { rate: 52_428_800 } },
      },
    });
    expect(spec).not.toHaveProperty('nics');
  });

  it('gives them to single disks and cards', async () => {
    const { spec } = await ran(
      ...['micro', '--new-disk', '1G', '--new-disk', '2G', '--set', 'disk.disk2.read-ops=500'],
      ...['--network', 'a', '--network', 'b', '--set', 'network.nic1.egress=8Mbit'],
    );
    expect(spec).toMatchObject({
      disks: [{ name: 'disk1' }, { name: 'disk2', limits: { readOperations: { rate: 500 } } }],
      nics: [{ network: 'a' }, { network: 'b', limits: { egress: { bytesPerSecond: 1_000_000 } } }],
    });
    const alone = await ran('micro', '--set', 'network.nic0.egress=8Mbit');
    expect(alone.spec).toMatchObject({ nics: [{ limits: { egress: { bytesPerSecond: 1_000_000 } } }] });
  });

  it.each([
    [['--set', 'cpus=2'], 'Give it by --cpus'],
    [['--set', 'policy=gold'], 'Give it by --policy'],
    [['--set', 'label.a=b'], 'Give it by --label'],
    [['--set', 'cpu.limit='], 'a new instance has none'],
    [['--set', 'cpu.limit=10X'], 'takes a number of cores'],
    [['--set', 'cpu.limit=1', '--set', 'cpu.cores=2'], 'was given twice'],
    [['--set', 'disk.root.read=1MiB'], 'none of them is root'],
    [['--set', 'network.nic1.egress=1Mbit'], 'Its cards: nic0.'],
    [['--network', 'none', '--set', 'network.nic0.egress=1Mbit'], 'It has no card.'],
  ])('refuses %j before anything is made', async (argv, reason) => {
    const { code, stderr, lines } = await ran('micro', ...argv);
    expect(code).toBe(2);
    expect(stderr).toContain(reason);
    expect(lines).not.toContain('POST /v1/instances');
  });
});
