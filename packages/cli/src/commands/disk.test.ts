import { describe, expect, it } from 'vitest';
import { anInstance, runWirt, type Script, startScriptedDaemon } from '../scripted-daemon.ts';
import { aVolume, done } from '../scripted-records.ts';

async function ran(argv: readonly string[], scripts: Readonly<Record<string, Script>>) {
  await using daemon = await startScriptedDaemon(scripts);
  const result = await runWirt(['volume', ...argv], { daemon });
  return { ...result, lines: daemon.lines, json: daemon.asked.at(0)?.json };
}

describe('wirt volume attach and detach', () => {
  const onDemo = { kind: 'instance', id: anInstance.id, name: 'demo' };
  const attached = {
    ...aVolume,
    status: { ...aVolume.status, attachment: { instance: anInstance.id, disk: 'disk1' } },
  };
  const scripts: Record<string, Script> = {
    'POST /v1/instances/demo/disks': () => ({ status: 202, json: done('instance.attach', onDemo) }),
    'DELETE /v1/instances/web/disks/disk2': () => ({ status: 202, json: done('instance.detach', onDemo) }),
    [`DELETE /v1/instances/${anInstance.id}/disks/disk1`]: () => ({
      status: 202,
      json: done('instance.detach', onDemo),
    }),
    'GET /v1/volumes/data': () => ({ json: attached }),
  };

  it('attach leaves to the contract what was not said, and says which disk it became', async () => {
    const { json, stdout } = await ran(['attach', 'data', 'demo'], scripts);
    expect(json).toEqual({ volume: 'data', readOnly: false, deleteOnTermination: false });
    expect(stdout).toBe('Volume data is attached to demo as disk1\n');
  });

  it('attach passes on everything that was said', async () => {
    const { json } = await ran(
      [
        ...['attach', 'data', 'demo', '--name', 'logs', '--bus', 'sata', '--read-only', '--boot', '2'],
        '--delete-with-instance',
      ],
      scripts,
    );
    expect(json).toEqual({
      volume: 'data',
      name: 'logs',
      bus: 'sata',
      bootOrder: 2,
      readOnly: true,
      deleteOnTermination: true,
    });
  });

  it('detach finds who has the volume, or takes the disk of an instance', async () => {
    const byVolume = await ran(['detach', 'data'], scripts);
    expect(byVolume.lines).toEqual([
      'GET /v1/volumes/data',
      `DELETE /v1/instances/${anInstance.id}/disks/disk1`,
    ]);
    expect(byVolume.stdout).toBe('data is detached from demo\n');
    const byDisk = await ran(['detach', 'web/disk2'], scripts);
    expect(byDisk.lines).toEqual(['DELETE /v1/instances/web/disks/disk2']);
  });

  it('detach says when nobody has it', async () => {
    const { code, stderr } = await ran(['detach', 'data'], {
      'GET /v1/volumes/data': () => ({ json: aVolume }),
    });
    expect([code, stderr]).toEqual([
      4,
      'wirt: Volume data is attached to no instance.\n  hint: See `wirt volume ls`.\n',
    ]);
  });
});
