import { describe, expect, it } from 'vitest';
import { anInstance, runWirt, startScriptedDaemon } from '../scripted-daemon.ts';
import { anInstanceWithDisks } from '../scripted-records.ts';

const mib = 1024 ** 2;

async function shown(instance: object, policy?: object) {
  await using daemon = await startScriptedDaemon({
    'GET /v1/instances/demo': () => ({ json: instance }),
    ...(policy && { 'GET /v1/policies/gold': () => ({ json: policy }) }),
  });
  const { stdout } = await runWirt(['show', 'demo'], { daemon });
  return stdout;
}

const gold = {
  name: 'gold',
  spec: {
    description: '',
    limits: {
      cpu: { cores: 2, weight: 300 },
      eachDisk: { totalBytes: { rate: 20 * mib }, readOperations: { rate: 500 } },
      eachNic: { egress: { bytesPerSecond: 12_500_000 } },
    },
  },
};

const limited = {
  ...anInstanceWithDisks,
  spec: {
    ...anInstanceWithDisks.spec,
    policy: 'gold',
    maxCpus: 4,
    limits: { cpu: { cores: 1.5 } },
    disks: anInstanceWithDisks.spec.disks.map((disk, at) =>
      at === 0 ? { ...disk, limits: { readBytes: { rate: 10 * mib, burst: 50 * mib } } } : disk,
    ),
  },
};

describe('the limits in wirt show', () => {
  it('are not there where there are none', async () => {
    expect(await shown(anInstance)).not.toContain('Limits');
  });

  it('are each beside what was read back, with where they are from, and what has drifted', async () => {
    const text = await shown(
      {
        ...limited,
        status: {
          ...limited.status,
          limits: {
            effective: {
              cpus: 2,
              memoryMib: 2048,
              cpu: { cores: 1.5, weight: 300 },
              memory: { overheadMib: 200 },
              disks: { root: { readBytes: { rate: mib } } },
              nics: { nic0: { egress: { bytesPerSecond: 12_500_000 } } },
            },
            drifted: [
              {
                key: 'disk.root.read',
                wanted: String(10 * mib),
                found: String(mib),
                why: 'somebody changed it',
              },
              { key: 'disk.disk1.total', wanted: String(20 * mib), why: 'QEMU does not answer' },
            ],
            pending: [
              { key: 'memory.free-page-reporting', wanted: '1', why: 'the balloon was started without it' },
            ],
            repairedAt: '2026-11-22T11:59:00Z',
          },
        },
      },
      gold,
    );
    const lines = text.slice(text.indexOf('Limits'), text.indexOf('cloud-init')).split('\n');
    const rows = lines.map((line) => line.trim().split(/ {2,}/));
    expect(rows).toEqual(
      expect.arrayContaining([
        ['cpus', '2', 'own', '2'],
        ['cpu.cores', '1.5', 'own', '1.5'],
        ['cpu.weight', '300', 'policy gold', '300'],
        ['disk.root.read', '10MiB:50MiB', 'own', '1MiB', 'drifted, Wirt goes on trying: somebody changed it'],
        ['disk.root.read-ops', '500', 'policy gold', 'none'],
        [
          'disk.disk1.total',
          '20MiB',
          'policy gold',
          'none',
          'drifted, Wirt goes on trying: QEMU does not answer',
        ],
        ['network.nic0.egress', '100Mbit', 'policy gold', '100Mbit'],
        ['Policy', 'gold'],
        ['QEMU’s share of the ceiling', '200 MiB'],
        ['Mended last', '2026-11-22T11:59:00Z (60 s ago)'],
      ]),
    );
    expect(text).toMatch(/memory\.free-page-reporting +on +none +at its next start: the balloon was started/);
    // A read of its own displaces the total of the policy.
    expect(text).not.toContain('disk.root.total');
    expect(text).toMatch(/CPUs +2, up to 4 while it runs/);
  });

  it('are what is wanted while it does not run, and say so when the policy cannot be read', async () => {
    const stopped = { ...limited, status: { ...limited.status, state: 'stopped' } };
    const text = await shown(stopped);
    expect(text).toMatch(/KEY +WANTED +FROM *\n +cpu\.cores +1\.5 +own *\n/);
    expect(text).toContain('Its values could not be read');
  });
});
