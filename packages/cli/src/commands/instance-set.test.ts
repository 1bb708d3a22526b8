import { describe, expect, it } from 'vitest';
import { anInstance, problem, runWirt, startScriptedDaemon } from '../scripted-daemon.ts';
import { anInstanceWithDisks, aPlacement } from '../scripted-records.ts';

const answered = (more: object) => ({ ...anInstance, status: { ...anInstance.status, ...more } });

async function ran(settings: readonly string[], answer: object, output: readonly string[] = []) {
  await using daemon = await startScriptedDaemon({
    'PATCH /v1/instances/demo': () => ({ json: answer }),
  });
  const result = await runWirt(['set', 'demo', ...settings, ...output], { daemon });
  return { ...result, asked: daemon.asked };
}

describe('wirt set', () => {
  it('sends all values in one request, in the units of the contract', async () => {
    const settings = [
      'cpu.limit=1.5',
      'memory=2G',
      'memory.ceiling=auto',
      'disk.read=10MiB:50MiB/10s',
      'disk.root.write-ops=500',
      'each-disk.total=none',
      'network.egress=100Mbit',
      'network.nic0.ingress-packets=20000',
      'cpu.burst=50ms',
      'cpu.weight=',
      'policy=gold',
      'max-cpus=',
      'name=other',
    ];
    const { asked, code } = await ran(settings, anInstance);
    expect(code).toBe(0);
    expect(asked).toHaveLength(1);
    expect(asked[0]?.json).toEqual({
      name: 'other',
      spec: {
        memoryMib: 2048,
        policy: 'gold',
        maxCpus: null,
        limits: {
          cpu: { cores: 1.5, burstMs: 50, weight: null },
          memory: { ceilingMib: 'auto' },
          disk: { readBytes: { rate: 10_485_760, burst: 52_428_800, burstSeconds: 10 } },
          eachDisk: { totalBytes: { rate: 0 } },
          eachNic: { egress: { bytesPerSecond: 12_500_000 } },
        },
        disks: { root: { limits: { writeOperations: { rate: 500 } } } },
        nics: { nic0: { limits: { ingress: { packetsPerSecond: 20_000 } } } },
      },
    });
  });

  it('says of each value what was read back, what is pending and why, and what drifted', async () => {
    const limits = {
      effective: {
        cpu: { cores: 1.5 },
        nics: { nic0: { egress: { bytesPerSecond: 12_500_000 } }, nic1: {} },
      },
      pending: [
        { key: 'memory.free-page-reporting', wanted: '1', why: 'its balloon was started without it' },
      ],
      drifted: [
        { key: 'disk.root.read', wanted: '10485760', found: '1048576', why: 'somebody else has changed it' },
      ],
    };
    const settings = ['cpu.limit=1.5', 'memory.free-page-reporting=on', 'each-disk.read=10MiB'];
    const withDisk = (answer: object) => ({ ...answer, spec: anInstanceWithDisks.spec });
    const { stdout } = await ran(
      [...settings, 'network.egress=100Mbit', 'disk.write=1MiB', 'autostart=on'],
      withDisk(answered({ limits })),
    );
    expect(stdout.split('\n').map((line) => line.trimEnd())).toEqual([
      'KEY                         WANTED   IN FORCE      WHEN',
      'cpu.cores                   1.5      1.5           now',
      'memory.free-page-reporting  on       none          at its next start: its balloon was started without it',
      'each-disk.read              10MiB    none          drifted, Wirt goes on trying: somebody else has changed it',
      'network.egress              100Mbit  nic0 100Mbit  now',
      'disk.write                  1MiB     none          taken, but not seen in force',
      'autostart                   on                     now',
      '',
    ]);
  });

  it('says that a value is in force at the next start when the guest does not run', async () => {
    const { stdout } = await ran(['cpu.cores=2'], answered({ state: 'stopped' }));
    expect(stdout).toContain('cpu.cores  2       -         at its next start');
  });

  it('says what there is of a switch, and that a limit waits for the first card', async () => {
    const pending = [{ key: 'memory.free-page-reporting', wanted: 'true', found: 'false', why: 'Later.' }];
    const none = answered({ limits: { effective: {}, pending } });
    const cardless = { ...none, spec: { ...none.spec, nics: [] } };
    const { stdout } = await ran(['memory.free-page-reporting=on', 'network.egress=1Mbit'], cardless);
    expect(stdout).toMatch(/free-page-reporting +on +off +at its next start: Later\.\n/);
    expect(stdout).toMatch(/network\.egress +1Mbit +- +when it has a network card\n/);
  });

  it('shows every gap of a policy that was given', async () => {
    const limits = {
      effective: {},
      pending: [{ key: 'memory.ceiling', wanted: '2048', found: '4096', why: 'the guest uses more' }],
    };
    const { stdout } = await ran(['policy=gold'], answered({ limits }));
    expect(stdout).toMatch(/policy +gold +see below\n/);
    expect(stdout).toMatch(/memory\.ceiling +2GiB +4GiB +at its next start: the guest uses more\n/);
  });

  it.each([
    ['cpu.cores=10X', 'cpu.cores=10X cannot be: cpu.cores takes a number of cores'],
    ['disk.read=10X', 'known are', 'knows the units B, kB, MB, GB, TB, KiB, MiB, GiB, TiB, and bits'],
    ['network.egress=-5Mbit', 'network.egress=-5Mbit cannot be'],
    ['network.egress=100', 'needs a unit'],
    ['network.egress=NaN', 'cannot be'],
    ['network.egress=99999999TB', 'is more than can be kept'],
    ['disk.read=10MiB:1MiB', 'has a burst below its rate'],
    ['cpu.wieght=5', 'Did you mean cpu.weight?'],
    ['cpus=', 'cpus always has a value'],
    ['cpus', 'takes KEY=VALUE'],
    ['disk.a b.read=1MiB', 'knows no key'],
    ['profile=fast', 'takes balanced, latency, density'],
    ['hugepages=4M', 'takes none, 2M, 1G'],
    ['dedicated=true', 'takes yes or no'],
    ['topology=4', 'takes SOCKETS,CORES,THREADS'],
    ['pin.0=3-2', 'write 2-3'],
    ['pin.emu=0', 'knows no key'],
    ['device.gpu0=host=x', 'takes an address, pool=NAME or mdev=UUID'],
    ['device.=x', 'knows no key'],
  ])('refuses %s before it asks anything', async (setting, ...says) => {
    const { code, stderr, asked } = await ran(['cpus=2', setting], anInstance);
    expect([code, asked]).toEqual([2, []]);
    expect(stderr).toContain(says.at(-1));
  });

  it('refuses a key that is given twice, an alias counted', async () => {
    const { code, stderr } = await ran(['cpu.limit=2', 'cpu.cores=3'], anInstance);
    expect([code, stderr]).toEqual([2, expect.stringContaining('cpu.cores was given twice')]);
  });

  it('adds a label to those that are there, and tries again when somebody else has changed them', async () => {
    let refused = 0;
    await using daemon = await startScriptedDaemon({
      'GET /v1/instances/demo': () => ({ json: { ...anInstance, revision: 7 + refused } }),
      [`PATCH /v1/instances/${anInstance.id}`]: () =>
        refused++ === 0 ? problem(412, 'request.revision_mismatch', 'Changed.') : { json: anInstance },
    });
    const { code, stdout } = await runWirt(['set', 'demo', 'label.owner=me', 'label.tier=', 'cpus=3'], {
      daemon,
    });
    expect(code).toBe(0);
    expect(stdout).toMatch(/label\.tier +without it +now/);
    const patches = daemon.asked.filter(({ method }) => method === 'PATCH');
    expect(patches.map(({ headers }) => headers['if-match'])).toEqual(['"7"', '"8"']);
    expect(patches[1]?.json).toEqual({ labels: { owner: 'me' }, spec: { cpus: 3 } });
  });

  it('sends how it is fitted to the hardware, and takes out what is empty', async () => {
    const settings = ['profile=latency', 'hugepages=2M', 'placement=auto', 'dedicated=yes', 'topology=1,4,2'];
    const { asked } = await ran([...settings, 'pin.emulator=0-1', 'pin.iothreads='], anInstance);
    expect(asked).toHaveLength(1);
    expect(asked[0]?.json).toEqual({
      spec: {
        tuning: {
          ...{ profile: 'latency', hugePages: '2M', placement: 'auto', dedicated: true },
          ...{ topology: { sockets: 1, cores: 4, threads: 2 }, emulatorPin: '0-1', iothreadPin: null },
        },
      },
    });
  });

  it('adds the pin of a vCPU to those that are there, at their revision', async () => {
    const spec = { ...anInstance.spec, tuning: { profile: 'latency', vcpuPins: { '0': '2', '1': '3' } } };
    await using daemon = await startScriptedDaemon({
      'GET /v1/instances/demo': () => ({ json: { ...anInstance, spec } }),
      [`PATCH /v1/instances/${anInstance.id}`]: () => ({ json: anInstance }),
    });
    const run = (...settings: string[]) => runWirt(['set', 'demo', ...settings], { daemon });
    expect((await run('pin.1=4-5', 'dedicated=', 'label.a=b')).code).toBe(0);
    await run('pin.0=', 'pin.1=');
    const patches = daemon.asked.filter(({ method }) => method === 'PATCH');
    expect(patches[0]?.headers['if-match']).toBe('"7"');
    expect(patches[0]?.json).toEqual({
      labels: { tier: 'web', a: 'b' },
      spec: { tuning: { dedicated: null, vcpuPins: { '0': '2', '1': '4-5' } } },
    });
    expect(patches[1]?.json).toEqual({ spec: { tuning: { vcpuPins: null } } });
  });

  it('names devices at the revision that it read, and says when a running guest has them', async () => {
    const lease = { name: 'gpu0', address: '0000:01:00.0', iommuGroup: 7 };
    const spec = { ...anInstance.spec, devices: [{ name: 'gpu0', address: '0000:01:00.0' }] };
    await using daemon = await startScriptedDaemon({
      'GET /v1/instances/demo': () => ({ json: { ...anInstance, spec } }),
      [`PATCH /v1/instances/${anInstance.id}`]: () => ({ json: answered({ devices: [lease] }) }),
    });
    const settings = ['device.gpu0=0000:01:00.0', 'device.vf0=pool=fast', 'device.old=', 'cpus=3'];
    const { code, stdout } = await runWirt(['set', 'demo', ...settings], { daemon });
    expect(code).toBe(0);
    const patch = daemon.asked.find(({ method }) => method === 'PATCH');
    expect(patch?.headers['if-match']).toBe('"7"');
    expect(patch?.json).toEqual({
      spec: { cpus: 3, devices: [...spec.devices, { name: 'vf0', pool: 'fast' }] },
    });
    expect(stdout).toMatch(/device\.gpu0 +0000:01:00\.0 +0000:01:00\.0 +now\n/);
    expect(stdout).toMatch(/device\.vf0 +pool=fast +- +at its next start\n/);
    expect(stdout).toMatch(/device\.old +\(taken out\) +- +now\n/);
    const taken = await runWirt(['set', 'demo', 'device.gpu0='], { daemon });
    expect(taken.stdout).toMatch(/device\.gpu0 +\(taken out\) +0000:01:00\.0 +at its next start\n/);
    expect(daemon.asked.at(-1)?.json).toEqual({ spec: { devices: null } });
  });

  it('says what a running guest was given, and that what differs is in force from its next start', async () => {
    const settings = ['profile=density', 'hugepages=1G', 'dedicated=yes', 'topology=2,2,1', 'placement='];
    const { stdout } = await ran(settings, answered({ placement: aPlacement }));
    expect(stdout.split('\n').map((line) => line.trimEnd())).toEqual([
      'KEY        WANTED       IN FORCE  WHEN',
      'profile    density                at its next start',
      'hugepages  1G           2M        at its next start',
      'dedicated  yes          yes       now',
      'topology   2,2,1        2,2,1     now',
      'placement  (taken out)  auto      at its next start',
      '',
    ]);
    const unplaced = await ran(['hugepages=2M'], anInstance);
    expect(unplaced.stdout).toMatch(/hugepages +2M +- +at its next start\n/);
  });

  it('gives programs the record, and prints the keys when it is given none', async () => {
    const { stdout } = await ran(['cpus=2'], anInstance, ['-o', 'json']);
    expect(JSON.parse(stdout)).toEqual(anInstance);
    expect((await runWirt(['set'])).stdout).toMatch(/^ {2}cpus +Virtual CPUs.*\n/);
    expect((await runWirt(['set', 'demo', '-o', 'name'])).stdout).toContain('network.NIC.egress-packets\n');
    expect(await runWirt(['set', 'cpus=2'])).toMatchObject({ code: 2 });
  });
});
