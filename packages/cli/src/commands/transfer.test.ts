import { describe, expect, it } from 'vitest';
import {
  anInstance,
  anOperation,
  problem,
  runWirt,
  type Script,
  startScriptedDaemon,
  startWirt,
} from '../scripted-daemon.ts';
import { anInstanceWithDisks, done } from '../scripted-records.ts';

const plan = {
  source: 'OVF of VMware',
  name: 'web',
  cpus: 2,
  memoryMib: 4096,
  firmware: 'bios',
  disks: [
    {
      name: 'root',
      device: 'disk',
      file: 'web-disk1.vmdk',
      format: 'vmdk',
      sizeBytes: 21_474_836_480,
      bus: 'sata',
      bootOrder: 1,
    },
    { name: 'cdrom', device: 'cdrom', bus: 'sata' },
  ],
  nics: [{ mac: '00:50:56:00:00:01', model: 'e1000e' }],
  pool: 'default',
  neededBytes: 3_221_225_472,
  notes: [
    { setting: 'usb', value: 'xHCI', reason: 'Wirt has no USB.', effect: 'dropped' },
    { setting: 'disk bus', value: 'lsilogic', reason: 'The guest may lack virtio drivers.', effect: 'hint' },
    { setting: 'network', value: 'VM Network', reason: 'Becomes user-mode networking.', effect: 'changed' },
  ],
};
const target = { kind: 'instance', id: anInstance.id, name: 'web' };
const stopped = { ...anInstanceWithDisks, name: 'web', status: { ...anInstance.status, state: 'stopped' } };
const scripts: Record<string, Script> = {
  'POST /v1/imports/plan': () => ({ json: plan }),
  'POST /v1/imports': () => ({ status: 202, json: done('instance.import', target) }),
  [`GET /v1/instances/${anInstance.id}`]: () => ({ json: stopped }),
};

const told = [
  'Taken for: OVF of VMware. This TENSE made:',
  '',
  'Name      web',
  'CPUs      2',
  'Memory    4 GiB',
  'Firmware  bios',
  'Network   e1000e 00:50:56:00:00:01',
  'Pool      default, at most 3 GiB',
  '',
  'DISK   BUS   BOOT  SIZE    FORMAT    FROM',
  'root   sata  1     20 GiB  vmdk      web-disk1.vmdk',
  'cdrom  sata  -     -       CD drive  -',
  '',
  'Not carried over',
  '  SETTING  VALUE  WHY',
  '  usb      xHCI   Wirt has no USB.',
  '',
  'Changed',
  '  SETTING  VALUE       WHY',
  '  network  VM Network  Becomes user-mode networking.',
  '',
  'Hints',
  '  SETTING   VALUE     WHY',
  '  disk bus  lsilogic  The guest may lack virtio drivers.',
  '',
].join('\n');

describe('wirt import', () => {
  it('--dry-run says what would be made and every setting that is lost, and changes nothing', async () => {
    await using daemon = await startScriptedDaemon(scripts);
    const { code, stdout } = await runWirt(['import', './web.ova', '--dry-run'], { daemon });
    expect([code, stdout]).toEqual([0, told.replace('TENSE', 'would be')]);
    expect(daemon.lines).toEqual(['POST /v1/imports/plan']);
    expect(daemon.asked[0]?.json).toEqual({ path: `${process.cwd()}/web.ova`, start: false, dryRun: true });
    const json = await runWirt(['import', './web.ova', '-n', '-o', 'json'], { daemon });
    expect(JSON.parse(json.stdout)).toEqual(plan);
  });

  it('has told all of it before the import is begun', async () => {
    const begun = Promise.withResolvers<void>();
    let before = '';
    await using daemon = await startScriptedDaemon({
      ...scripts,
      'POST /v1/imports': () => {
        before = running.stdout();
        begun.resolve();
        return { status: 202, json: done('instance.import', target) };
      },
    });
    const running = startWirt(['import', 'web.ova'], { daemon });
    await begun.promise;
    expect(before).toBe(told.replace('TENSE', 'will be'));
    const { code, stdout } = await running.done;
    expect([code, stdout.slice(before.length)]).toEqual([0, '\nweb is imported. Start it: wirt start web\n']);
  });

  it('passes the same to the plan and to the import', async () => {
    await using daemon = await startScriptedDaemon(scripts);
    await runWirt(
      [
        ...['import', '/srv/x.vhd', '--name', 'old', '--pool', 'fast', '--cpus', '4', '--memory', '2G'],
        ...['--firmware', 'uefi', '--format', 'disk', '--disk-format', 'vhd', '--start'],
      ],
      { daemon },
    );
    const body = {
      path: '/srv/x.vhd',
      name: 'old',
      pool: 'fast',
      cpus: 4,
      memoryMib: 2048,
      firmware: 'uefi',
      format: 'disk',
      diskFormat: 'vpc',
      start: true,
    };
    expect(daemon.asked.slice(0, 2).map(({ json }) => json)).toEqual([body, body]);
    expect(daemon.asked[1]?.headers['idempotency-key']).toBeDefined();
  });

  it('gives programs the instance, and the notes on standard error', async () => {
    await using daemon = await startScriptedDaemon(scripts);
    const { stdout, stderr } = await runWirt(['import', 'web.ova', '-o', 'json'], { daemon });
    expect(JSON.parse(stdout)).toEqual(stopped);
    expect(stderr).toBe(
      [
        'dropped: usb = xHCI: Wirt has no USB.',
        'changed: network = VM Network: Becomes user-mode networking.',
        'hint: disk bus = lsilogic: The guest may lack virtio drivers.',
        '',
      ].join('\n'),
    );
  });

  it('says so where everything is carried over', async () => {
    await using daemon = await startScriptedDaemon({
      'POST /v1/imports/plan': () => ({ json: { ...plan, notes: [], disks: [], nics: [] } }),
    });
    const { stdout } = await runWirt(['import', 'web.ova', '--dry-run'], { daemon });
    expect(stdout).toContain('Every setting is carried over.');
    expect(stdout).toContain('No disks.');
    expect(stdout).not.toContain('Not carried over');
  });

  it('begins nothing when the file is refused', async () => {
    const hint = 'X.';
    await using daemon = await startScriptedDaemon({
      'POST /v1/imports/plan': () =>
        problem(422, 'import.malformed', 'web.ova has a symbolic link.', { hint }),
    });
    const { code, stderr } = await runWirt(['import', 'web.ova'], { daemon });
    expect([code, stderr]).toEqual([1, 'wirt: web.ova has a symbolic link.\n  hint: X.\n']);
    expect(daemon.lines).toEqual(['POST /v1/imports/plan']);
  });

  it('is cancelled by the first Ctrl-C', async () => {
    const converting = { ...anOperation, kind: 'instance.import', target, cancellable: true };
    let operation: object = converting;
    const looked = Promise.withResolvers<void>();
    await using daemon = await startScriptedDaemon({
      ...scripts,
      'POST /v1/imports': () => ({ status: 202, json: converting }),
      [`GET /v1/operations/${converting.id}`]: (_, response) => {
        response.on('finish', looked.resolve);
        return { json: operation };
      },
      [`POST /v1/operations/${converting.id}/cancel`]: (_, response) => {
        const error = problem(409, 'operation.cancelled', 'The import of web was cancelled.').json;
        operation = { ...converting, state: 'cancelled', error };
        response.on('finish', () => daemon.emit({ revision: 9, kind: 'operation', id: converting.id }));
        return { status: 202, json: converting };
      },
    });
    const running = startWirt(['import', 'web.ova'], { daemon });
    await looked.promise;
    running.interrupt();
    const { code, stderr } = await running.done;
    expect(code).toBe(4);
    expect(stderr).toContain('The import of web was cancelled.');
  });
});

describe('wirt export', () => {
  const exported: Record<string, Script> = {
    'GET /v1/instances/demo': () => ({ json: { ...anInstanceWithDisks, name: 'demo' } }),
    'POST /v1/instances/demo/export': () => ({
      status: 202,
      json: done('instance.export', { ...target, name: 'demo' }),
    }),
  };

  it.each([
    [[], 'ova', './demo.ova', true],
    [['--format', 'libvirt'], 'libvirt', './demo', true],
    [['--format', 'qcow2'], 'qcow2', './demo', true],
    [['./d.qcow2'], 'qcow2', './d.qcow2', false],
    [['/srv/d.img'], 'raw', '/srv/d.img', false],
    [['/srv/d.ova', '-f', 'raw'], 'raw', '/srv/d.ova', false],
  ] as const)('%j writes %s into %s', async (argv, format, file, looks) => {
    await using daemon = await startScriptedDaemon(exported);
    const { code, stdout } = await runWirt(['export', 'demo', ...argv], { daemon });
    const path = file.replace('./', `${process.cwd()}/`);
    expect([code, stdout]).toEqual([0, `demo is in ${path} (${format})\n`]);
    expect(daemon.asked.find(({ method }) => method === 'POST')?.json).toEqual({ format, path });
    expect(daemon.lines.includes('GET /v1/instances/demo')).toBe(looks);
  });

  it('of one disk is a file beside us', async () => {
    const [disk] = anInstanceWithDisks.spec.disks;
    const single = { ...anInstance, spec: { ...anInstance.spec, disks: [disk] } };
    await using daemon = await startScriptedDaemon({
      ...exported,
      'GET /v1/instances/demo': () => ({ json: single }),
    });
    await runWirt(['export', 'demo', '--format', 'raw'], { daemon });
    expect(daemon.asked.at(-1)?.json).toEqual({ format: 'raw', path: `${process.cwd()}/demo.raw` });
  });
});
