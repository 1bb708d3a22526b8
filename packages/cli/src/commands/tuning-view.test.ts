import { describe, expect, it } from 'vitest';
import { anInstance, runWirt, startScriptedDaemon } from '../scripted-daemon.ts';
import { aPlacement } from '../scripted-records.ts';

const tuning = {
  instance: 'demo',
  running: true,
  profile: 'latency',
  settings: [
    { setting: 'hugepages', value: '2M', from: 'profile', why: 'Address translation takes a step less.' },
    {
      setting: 'placement',
      value: 'none',
      from: 'host',
      why: 'The host has one node.',
      better: 'auto on a host with several nodes.',
    },
  ],
};

async function shown(found: object, ...argv: string[]) {
  await using daemon = await startScriptedDaemon({
    'GET /v1/instances/demo/tuning': () => ({ json: found }),
    'GET /v1/instances/demo': () => ({ json: found }),
  });
  return await runWirt(['show', 'demo', ...argv], { daemon });
}

describe('wirt show --tuning', () => {
  it('prints each setting with who chose it and why, and below it what would be better', async () => {
    const { code, stdout } = await shown(tuning, '--tuning');
    expect(code).toBe(0);
    expect(stdout).toBe(
      [
        'demo runs with the profile latency, and has:',
        '',
        'SETTING    VALUE  FROM         WHY',
        'hugepages  2M     its profile  Address translation takes a step less.',
        'placement  none   this host    The host has one node.',
        '    better: auto on a host with several nodes.',
        '',
        'Change it: wirt set demo KEY=VALUE, in force from its next start',
        '',
      ].join('\n'),
    );
  });

  it('prints further reasons below their setting, and long values in part', async () => {
    const pins = Array.from({ length: 64 }, (_, at) => `${at}: ${at}`).join(', ');
    const more = [
      ...tuning.settings,
      { setting: 'placement', value: '', from: 'default', why: 'It fits on no single node.' },
      { setting: 'pins', value: pins, from: 'default', why: 'Where each vCPU runs.' },
    ];
    const { stdout } = await shown({ ...tuning, settings: more }, '--tuning');
    expect(stdout).toMatch(/\n {20,}It fits on no single node\.\n/);
    expect(stdout).toMatch(/\npins +0: 0, 1: 1, .{20,30}… +default +Where each vCPU runs\.\n/);
    const names = await shown({ ...tuning, settings: more }, '--tuning', '-o', 'name');
    expect(names.stdout).toBe('hugepages\nplacement\npins\n');
  });

  it('says of a guest that does not run that these are of its next start', async () => {
    const { stdout } = await shown({ ...tuning, running: false }, '--tuning');
    expect(stdout).toContain('demo has the profile latency, and would get at its next start:\n');
    expect(stdout).not.toContain('in force from');
  });

  it('gives programs the record, and refuses two views at once', async () => {
    expect(JSON.parse((await shown(tuning, '--tuning', '-o', 'json')).stdout)).toEqual(tuning);
    expect((await shown(tuning, '--tuning', '-o', 'name')).stdout).toBe('hugepages\nplacement\n');
    expect(await shown(tuning, '--tuning', '--isolation')).toMatchObject({ code: 2 });
  });
});

describe('wirt show', () => {
  const placed = (placement: object, spec: object = {}) => ({
    ...anInstance,
    spec: { ...anInstance.spec, ...spec },
    status: { ...anInstance.status, placement },
  });

  it('says where the guest was put, and what was asked for', async () => {
    const asked = { profile: 'latency', vcpuPins: { '0': '2' }, topology: aPlacement.topology };
    const { stdout } = await shown(placed(aPlacement, { tuning: asked }));
    expect(stdout).toMatch(/Placed on +nodes 0-1, processors 0-5, 2-5 for it alone\n/);
    expect(stdout).toMatch(/Pinned +vCPU 0 on 2, 1 on 3, 2 on 4, 3 on 5; QEMU on 0-1; disks on 0-1\n/);
    expect(stdout).toMatch(/Huge pages +of 2 MiB: 512 on node 0, 512 on node 1\n/);
    expect(stdout).toMatch(/Tuning +profile=latency topology=2,2,1 pin\.0=2\n/);
  });

  it('is short about a wide guest, and says nothing of one that was put nowhere', async () => {
    const vcpuPins = Object.fromEntries(Array.from({ length: 64 }, (_, at) => [at, String(at)]));
    const { emulatorPin: _, iothreadPin: __, ...unpinned } = aPlacement;
    const wide = await shown(placed({ ...unpinned, vcpuPins }));
    expect(wide.stdout).toMatch(/Pinned +vCPU 0 on 0, .*7 on 7, and 56 more\n/);
    const { topology, guestNodes } = aPlacement;
    const free = await shown(placed({ nodes: [], vcpuPins: {}, topology, guestNodes, reasons: [] }));
    expect(free.stdout).not.toMatch(/Placed|Pinned|Huge pages|Tuning/);
  });
});
