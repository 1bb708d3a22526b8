import { describe, expect, it } from 'vitest';
import { anInstance, runWirt, startScriptedDaemon } from '../scripted-daemon.ts';
import { anInstanceWithDisks, done } from '../scripted-records.ts';

const target = { kind: 'instance', id: anInstance.id, name: 'demo' };

async function ran(argv: readonly string[], instance: object = anInstanceWithDisks) {
  const changed = () => ({ status: 202, json: done('instance.medium', target) });
  await using daemon = await startScriptedDaemon({
    'GET /v1/instances/demo': () => ({ json: instance }),
    'POST /v1/instances/demo/disks/cdrom/medium': changed,
    'POST /v1/instances/demo/disks/cdrom2/medium': changed,
  });
  const result = await runWirt(['media', ...argv], { daemon });
  return { ...result, lines: daemon.lines, json: daemon.asked.at(-1)?.json };
}

const withDrives = (...names: string[]) => ({
  ...anInstance,
  spec: { ...anInstance.spec, disks: names.map((name) => ({ device: 'cdrom', name, bus: 'sata', slot: 0 })) },
});

describe('wirt media', () => {
  it('insert puts the image into the only drive', async () => {
    const { code, stdout, json } = await ran(['insert', 'demo', 'netinst']);
    expect([code, stdout, json]).toEqual([0, 'netinst is in drive cdrom of demo\n', { image: 'netinst' }]);
  });

  it('eject empties it', async () => {
    const { stdout, json } = await ran(['eject', 'demo']);
    expect([stdout, json]).toEqual(['Drive cdrom of demo is empty\n', { image: null }]);
  });

  it('takes the drive that was named without looking', async () => {
    const { lines } = await ran(['eject', 'demo', '--drive', 'cdrom2']);
    expect(lines).toEqual(['POST /v1/instances/demo/disks/cdrom2/medium']);
  });

  it.each([
    [[], 4, 'demo has no CD drive.', '--cdrom none'],
    [['cdrom', 'cdrom2'], 2, 'demo has 2 CD drives.', '--drive cdrom'],
  ])('with the drives %j says what to do', async (drives, exit, reason, hint) => {
    const { code, stderr, lines } = await ran(['eject', 'demo'], withDrives(...drives));
    expect(code).toBe(exit);
    expect(stderr).toContain(reason);
    expect(stderr).toContain(hint);
    expect(lines).toEqual(['GET /v1/instances/demo']);
  });
});
