import { describe, expect, it } from 'vitest';
import { anInstance, doneOperation, runWirt, startScriptedDaemon } from '../scripted-daemon.ts';
import { aDiskImage } from '../scripted-records.ts';

const nic = {
  address: '0000:03:00.0',
  kind: 'network',
  classCode: 0x020000,
  vendorId: '8086',
  deviceId: '10c9',
  driver: 'igb',
  iommuGroup: 12,
  groupMembers: [],
  numaNode: 0,
  sriov: { totalVfs: 7, numVfs: 2, vfs: ['0000:03:10.0', '0000:03:10.2'] },
  mediatedTypes: [],
  mediatedDevices: [],
  resettable: true,
  inUse: [{ kind: 'functions', name: '0000:03:00.0', reason: 'has 2 virtual functions' }],
  usable: false,
  why: 'PCI device 0000:03:00.0 is in use by the host.',
  hint: 'Take it out of use first.',
  pool: { name: 'fast', count: 2 },
  leasedTo: [],
};
const vf = {
  ...nic,
  address: '0000:03:10.0',
  sriov: { totalVfs: 0, numVfs: 0, vfs: [], physicalFunction: nic.address },
  inUse: [],
  pool: { name: 'fast' },
  why: 'It is lent.',
  leasedTo: [{ instance: 'web', id: anInstance.id, device: 'vf0' }],
};
const path = '/v1/host/devices/0000%3A03%3A00.0';

describe('wirt host device', () => {
  it('ls says of each whether a guest could have it', async () => {
    await using daemon = await startScriptedDaemon({
      'GET /v1/host/devices': () => ({ json: { items: [nic, vf] } }),
    });
    const { stdout } = await runWirt(['host', 'device', 'ls'], { daemon });
    const lines = stdout.split('\n').map((line) => line.replaceAll(/ {2,}/g, ' | ').trim());
    expect(lines).toEqual([
      'ADDRESS | KIND | ID | DRIVER | GROUP | FUNCTIONS | POOL | FOR GUESTS',
      '0000:03:00.0 | network | 8086:10c9 | igb | 12 | 2 of 7 | fast | no: 0000:03:00.0 has 2 virtual functions',
      '0000:03:10.0 | network | 8086:10c9 | igb | 12 | of 0000:03:00.0 | fast | lent to web',
      '',
    ]);
  });

  it('show says why not, and what to do', async () => {
    await using daemon = await startScriptedDaemon({ [`GET ${path}`]: () => ({ json: nic }) });
    const { stdout } = await runWirt(['host', 'device', 'show', nic.address], { daemon });
    expect(stdout).toMatch(/For guests +no\n/);
    expect(stdout).toMatch(/Why +PCI device 0000:03:00.0 is in use by the host\./);
    expect(stdout).toMatch(/What to do +Take it out of use first\./);
  });

  it('create-vfs and remove-vfs say what the device has then', async () => {
    await using daemon = await startScriptedDaemon({
      [`PUT ${path}/vfs`]: () => ({ json: nic }),
      [`DELETE ${path}/vfs`]: () => ({ status: 204 }),
    });
    const made = await runWirt(
      ['host', 'device', 'create-vfs', nic.address, '--count', '2', '--pool', 'fast'],
      { daemon },
    );
    expect(made.stdout).toBe('Device 0000:03:00.0 has 2 virtual functions in pool fast\n');
    expect(daemon.asked.at(-1)?.json).toEqual({ count: 2, pool: 'fast' });
    const gone = await runWirt(['host', 'device', 'remove-vfs', nic.address], { daemon });
    expect(gone.stdout).toBe('Device 0000:03:00.0 has no virtual functions\n');
  });

  it('needs a count and a pool, and a command', async () => {
    await using daemon = await startScriptedDaemon({});
    const split = await runWirt(['host', 'device', 'create-vfs', nic.address], { daemon });
    expect([split.code, split.stderr]).toEqual([2, expect.stringContaining('--count N and --pool NAME')]);
    const none = await runWirt(['host', 'device'], { daemon });
    expect([none.code, none.stderr]).toEqual([
      2,
      expect.stringContaining('wirt host device needs a command: ls, show, create-vfs, remove-vfs.'),
    ]);
    const near = await runWirt(['host', 'device', 'creat-vfs'], { daemon });
    expect(near.stderr).toContain('wirt host device create-vfs');
    const help = await runWirt(['host', 'device', '--help'], { daemon });
    expect([help.code, help.stdout]).toEqual([0, expect.stringContaining('host device remove-vfs')]);
  });
});

describe('wirt show', () => {
  it('tells devices that the guest has, and which it has from its next start', async () => {
    const lease = { name: 'gpu0', address: '0000:01:00.0', iommuGroup: 7 };
    const devices = [
      { name: 'gpu0', address: '0000:01:00.0' },
      { name: 'vf0', pool: 'fast' },
    ];
    const process = { pid: 7, startTicks: 9, uid: 70_000, gid: 70_000 };
    const show = async (status: object) => {
      const json = { ...anInstance, spec: { ...anInstance.spec, devices }, status };
      await using daemon = await startScriptedDaemon({ 'GET /v1/instances/demo': () => ({ json }) });
      return (await runWirt(['show', 'demo'], { daemon })).stdout;
    };
    const running = await show({ ...anInstance.status, process, devices: [lease] });
    expect(running).toMatch(/Has of the host +gpu0: 0000:01:00\.0\n/);
    expect(running).toMatch(/Host device +gpu0: 0000:01:00\.0\n/);
    expect(running).toMatch(/Host device +vf0: any of pool fast, from its next start\n/);
    expect(await show({ ...anInstance.status, state: 'stopped' })).toMatch(
      /Host device +vf0: any of pool fast\n/,
    );
  });
});

describe('wirt run --device', () => {
  it.each([
    ['0000:01:00.0', { name: 'device0', address: '0000:01:00.0' }],
    ['name=gpu0,address=0000:01:00.0', { name: 'gpu0', address: '0000:01:00.0' }],
    ['pool=fast', { name: 'device0', pool: 'fast' }],
    [
      'mdev=83b8f4f2-509f-382f-3c1e-e6bfe0fa1001,name=vgpu',
      { name: 'vgpu', mdev: '83b8f4f2-509f-382f-3c1e-e6bfe0fa1001' },
    ],
  ])('%s asks for that device', async (text, device) => {
    await using daemon = await startScriptedDaemon({
      'GET /v1/images/debian-12': () => ({ json: aDiskImage }),
      'POST /v1/instances': () => ({ status: 202, json: doneOperation }),
    });
    await runWirt(['run', 'debian-12', 'web', '--device', text], { daemon });
    const sent = daemon.asked.find(({ method }) => method === 'POST')?.json;
    expect(sent).toMatchObject({ spec: { devices: [device] } });
  });

  it.each(['name=gpu0', 'address=1,pool=2', 'pool=a,pool=b', 'host=x', 'pool='])(
    '%s is refused before anything is asked',
    async (text) => {
      await using daemon = await startScriptedDaemon({});
      const { code, stderr } = await runWirt(['run', 'debian-12', 'web', '--device', text], { daemon });
      expect([code, stderr]).toEqual([2, expect.stringContaining('--device')]);
      expect(daemon.asked).toEqual([]);
    },
  );
});
