// Guests fitted to the hardware: what was asked for is what the kernel has, of huge pages, processors and memory, and all of it is given back.
import { existsSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import type { InstanceSpecCreate, Tuning } from '@wirt/api';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startDaemon, type TestDaemon } from './harness/daemon.ts';
import { wirt } from './harness/wirt.ts';

const pool = '/sys/kernel/mm/hugepages/hugepages-2048kB';
/** What `--host-tuning auto` may set. */
const knobs = ['/sys/kernel/mm/ksm/run', `${pool}/nr_hugepages`];
let daemon: TestDaemon;
let pagesBefore = 0;
let knobsBefore: string[] = [];

const pages = async (what: 'nr' | 'free'): Promise<number> =>
  Number(await readFile(`${pool}/${what}_hugepages`, 'utf8'));

beforeAll(async () => {
  pagesBefore = await pages('nr');
  knobsBefore = await Promise.all(knobs.map((knob) => readFile(knob, 'utf8')));
  daemon = await startDaemon({ args: ['--host-tuning', 'auto'] });
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  for (const [at, text] of knobsBefore.entries()) await writeFile(knobs[at] ?? '', text.trim());
});

const at = (instance: string) => ({ params: { instance } });
const start = (name: string, tuning: Tuning, spec: Partial<InstanceSpecCreate> = {}) =>
  daemon.client.call('POST /v1/instances', {
    body: { name, start: true, spec: { image: 'micro', memoryMib: 64, nics: [], ...spec, tuning } },
    query: { wait: 'done', waitSeconds: 60 },
  });
const instance = (name: string) => daemon.client.call('GET /v1/instances/{instance}', at(name));
const remove = async (...names: string[]): Promise<void> => {
  for (const name of names)
    await daemon.client.call('DELETE /v1/instances/{instance}', {
      ...at(name),
      query: { force: 'true', wait: 'done', waitSeconds: 60 },
    });
};
/** What a start fails with. */
async function refusal(name: string, tuning: Tuning, spec: Partial<InstanceSpecCreate> = {}) {
  const failed = (error: unknown) => error as { code: string; message: string; hint?: string };
  const operation = await start(name, tuning, spec).catch(failed);
  if ('code' in operation) return operation;
  await remove(name);
  return { code: '', message: '', ...operation.error };
}

/** Processors that the threads of a guest may use, by the thread’s name. */
async function allowed(name: string): Promise<Record<string, string>> {
  const pid = (await instance(name)).status.process?.pid ?? 0;
  const found: Record<string, string> = {};
  for (const thread of await readdir(`/proc/${pid}/task`)) {
    const of = (file: string) => readFile(`/proc/${pid}/task/${thread}/${file}`, 'utf8');
    const [comm, status] = await Promise.all([of('comm'), of('status')]);
    found[comm.trim()] = /Cpus_allowed_list:\s*(\S+)/.exec(status)?.[1] ?? '';
  }
  return found;
}

/** Looks until it is so; placement is looked after every 5 s. */
async function until(look: () => Promise<boolean>): Promise<void> {
  const deadline = AbortSignal.timeout(15_000);
  while (!(await look())) {
    deadline.throwIfAborted();
    await daemon.client.call('GET /v1/usage', {
      query: { after: (await daemon.client.call('GET /v1/usage', {})).at },
    });
  }
}

describe('huge pages', () => {
  it('are made for a guest, hold its memory, and are given back when it has ended', async () => {
    await start('huge', { hugePages: '2M' }, { memoryMib: 63 });
    const { placement, run } = (await instance('huge')).status;
    expect(run?.memoryMib).toBe(64);
    expect(placement).toMatchObject({ pageSizeKib: 2048, reserved: [{ node: 0, sizeKib: 2048, count: 32 }] });
    expect(placement?.reasons.join(' ')).toContain('rounded up');
    expect([await pages('nr'), await pages('free')]).toEqual([pagesBefore + 32, pagesBefore]);
    await remove('huge');
    await until(async () => (await pages('nr')) === pagesBefore);
  });

  it('are given back by the next wirtd, when one has died', async () => {
    await start('huge', { hugePages: '2M' });
    const pid = (await instance('huge')).status.process?.pid ?? 0;
    await daemon.kill();
    process.kill(pid, 'SIGKILL');
    await daemon.start({ args: ['--host-tuning', 'auto'] });
    await until(async () => (await pages('nr')) === pagesBefore);
    await remove('huge');
  });

  it('that the host cannot make are refused, with the sum, before anything is started', async () => {
    const { code, message } = await refusal(
      'vast',
      { hugePages: '1G' },
      { memoryMib: 1_000_000, overcommit: true },
    );
    expect(code).toBe('host.insufficient_huge_pages');
    expect(message).toMatch(/\d+/);
    expect(await pages('nr')).toBe(pagesBefore);
  });

  it('that Wirt may not make are refused with the command that does', async () => {
    await daemon.stop();
    await daemon.start();
    const { code, hint } = await refusal('huge', { hugePages: '2M' });
    expect(code).toBe('host.insufficient_huge_pages');
    expect(hint).toContain('nr_hugepages');
    await daemon.stop();
    await daemon.start({ args: ['--host-tuning', 'auto'] });
  });
});

describe('processors', () => {
  it('that are dedicated have no other guest on them, as long as the guest runs', async () => {
    await start('plain', {});
    await start('own', { dedicated: true });
    const { dedicated = '' } = (await instance('own')).status.placement ?? {};
    expect(dedicated).toMatch(/^\d+$/);
    expect(await allowed('own')).toMatchObject({ 'CPU 0/TCG': dedicated });
    for (const cpus of Object.values(await allowed('plain')))
      expect(cpus.split(/[,-]/)).not.toContain(dedicated);
    const { cpus } = await daemon.client.call('GET /v1/host/topology', {});
    expect(cpus.find(({ dedicatedTo }) => dedicatedTo === 'own')?.cpu).toBe(Number(dedicated));
    const before = await allowed('plain');
    await remove('own');
    await until(async () => (await allowed('plain'))['CPU 0/TCG'] !== before['CPU 0/TCG']);
    await remove('plain');
  });

  it('that a guest is pinned to are those its threads have, also of vCPUs that come later', async () => {
    await start('pinned', { vcpuPins: { 0: '0', 1: '1' }, emulatorPin: '1' }, { cpus: 1, maxCpus: 2 });
    expect(await allowed('pinned')).toMatchObject({ 'CPU 0/TCG': '0', 'qemu-system-x86': '1' });
    await daemon.client.call('PATCH /v1/instances/{instance}', {
      ...at('pinned'),
      body: { spec: { cpus: 2 } },
    });
    expect(await allowed('pinned')).toMatchObject({ 'CPU 0/TCG': '0', 'CPU 1/TCG': '1' });
    await remove('pinned');
  });

  it('that are not there, or are another’s, are refused, and nothing is left', async () => {
    expect((await refusal('far', { vcpuPins: { 0: '4000' } })).code).toBe('host.no_such_cpu');
    await start('own', { dedicated: true });
    const { dedicated = '' } = (await instance('own')).status.placement ?? {};
    const { code, message } = await refusal('other', { vcpuPins: { 0: dedicated } });
    expect(code).toBe('host.cpus_taken');
    expect(message).toContain('own');
    await remove('own');
  });

  it('look to the guest as it was asked for', async () => {
    expect((await refusal('odd', { topology: { sockets: 3, cores: 1, threads: 1 } })).code).toBe(
      'instance.invalid_topology',
    );
    await daemon.client.call('POST /v1/instances', {
      body: {
        name: 'shaped',
        start: true,
        spec: {
          image: 'micro',
          memoryMib: 96,
          cpus: 4,
          nics: [],
          tuning: { topology: { sockets: 2, cores: 1, threads: 2 } },
        },
      },
      query: { wait: 'ready', waitSeconds: 60 },
    });
    const { stdout } = await daemon.client.call('POST /v1/instances/{instance}/exec', {
      ...at('shaped'),
      body: {
        argv: ['/bin/sh', '-c', 'grep -E "physical id|siblings" /proc/cpuinfo | sort | uniq -c'],
        timeoutSeconds: 30,
      },
    });
    const text = Buffer.from(stdout, 'base64').toString();
    expect(text).toMatch(/2 physical id\s*: 0/);
    expect(text).toMatch(/4 siblings\s*: 2/);
    await remove('shaped');
  });
});

describe('what may be promised', () => {
  it('is refused with the sum, and shown', async () => {
    await wirt(daemon.socket, ['host', 'set', 'cpu-overcommit=0.5']);
    const { code, message } = await refusal('late', {}, { cpus: 2 });
    expect(code).toBe('host.insufficient_cpus');
    expect(message).toMatch(/2 vCPUs.*may promise \d+/);
    await wirt(daemon.socket, ['host', 'set', 'cpu-overcommit=100']);
    const { cpus, memory } = await daemon.client.call('GET /v1/host/capacity', {});
    expect(cpus.promised).toBe(0);
    expect(memory.promisedMib).toBe(0);
  });
});

describe('growth of a guest that runs', () => {
  it('and a start, asked for at the same moment, are promised what is left once', async () => {
    const { cpus } = await daemon.client.call('GET /v1/host/capacity', {});
    const most = cpus.online * 2;
    await wirt(daemon.socket, ['host', 'set', 'cpu-overcommit=2']);
    await start('grows', {}, { cpus: 1, maxCpus: most });
    for (let turn = 0; turn < 3; turn += 1) {
      const [growth, code] = await Promise.all([
        wirt(daemon.socket, ['set', 'grows', `cpus=${most - 1}`]),
        start('new', {}, { cpus: most - 1 }).then(
          () => undefined,
          (error: { code: string }) => error.code,
        ),
      ]);
      // Which of them is first is not promised.
      if (growth.exitCode === 0) expect(code).toBe('host.insufficient_cpus');
      else expect([code, growth.stderr]).toEqual([undefined, expect.stringContaining('vCPUs more')]);
      if (code === undefined) await remove('new');
      await wirt(daemon.socket, ['set', 'grows', 'cpus=1']);
    }
    await wirt(daemon.socket, ['host', 'set', 'cpu-overcommit=100']);
    await remove('grows');
  });
});

describe('space of a pool', () => {
  const poolOf = async () => {
    const { pools } = await daemon.client.call('GET /v1/host/capacity', {});
    const found = pools.find(({ name }) => name === 'default');
    if (found === undefined) throw new Error('There is no pool.');
    return found;
  };
  const diskOf = (sizeBytes: number) => {
    const shape = { bus: 'virtio', pool: 'default', format: 'qcow2', readOnly: false } as const;
    return { name: 'data', device: 'disk', sizeBytes, ...shape } as const;
  };

  it('is promised up to the factor: a volume, or a guest with one, beyond it is refused with the sum', async () => {
    await wirt(daemon.socket, ['host', 'set', 'pool-overcommit=0.1']);
    const { promisableBytes, capacityBytes } = await poolOf();
    expect(promisableBytes).toBe(Math.floor(capacityBytes / 10));
    const gib = Math.ceil(promisableBytes / 2 ** 30) + 1;
    const made = await wirt(daemon.socket, ['volume', 'create', 'large', '--size', `${gib}G`]);
    expect(made.exitCode).not.toBe(0);
    expect(made.stderr).toMatch(new RegExp(`may promise ${promisableBytes} .*pool-overcommit=1`, 's'));
    const { code, message } = await refusal('web', {}, { disks: [diskOf(gib * 2 ** 30)] });
    expect([code, message]).toEqual(['pool.overcommitted', expect.stringContaining(`${promisableBytes}`)]);
    await expect(instance('web')).rejects.toMatchObject({ code: 'instance.not_found' });
    expect(await poolOf()).toMatchObject({ promisedBytes: 0, runningBytes: 0 });
  });

  it('that was promised under a larger factor stays with who runs, and nobody is started beyond the lower one', async () => {
    const { capacityBytes } = await poolOf();
    await wirt(daemon.socket, ['host', 'set', 'pool-overcommit=0.2']);
    const sizeBytes = Math.ceil((capacityBytes * 0.06) / 2 ** 20) * 2 ** 20;
    for (const name of ['first', 'second']) await start(name, {}, { disks: [diskOf(sizeBytes)] });
    const stopped = { ...at('second'), body: { mode: 'force' }, query: { wait: 'done' } } as const;
    await daemon.client.call('POST /v1/instances/{instance}/stop', stopped);
    const { stdout } = await wirt(daemon.socket, ['host', 'set', 'pool-overcommit=0.1']);
    expect(stdout).toMatch(/^pool-overcommit +0\.1 /m);
    const again = await wirt(daemon.socket, ['start', 'second']);
    expect([again.exitCode, again.stderr]).toEqual([4, expect.stringContaining('pool-overcommit=1')]);
    expect((await instance('first')).status.state).toBe('running');
    expect(await poolOf()).toMatchObject({ promisedBytes: 2 * sizeBytes, runningBytes: sizeBytes });
    expect((await wirt(daemon.socket, ['host', 'capacity'])).stdout).toMatch(/^default .* too many /m);
    await wirt(daemon.socket, ['host', 'set', 'pool-overcommit=0.2']);
    expect((await wirt(daemon.socket, ['start', 'second'])).exitCode).toBe(0);
    await wirt(daemon.socket, ['host', 'set', 'pool-overcommit=20']);
    await remove('first', 'second');
  });
});

const vsockDevice = '/dev/vhost-vsock';

describe('a vsock', () => {
  // Where there is one: packages/daemon/src/drivers/qemu/vsock.contract.test.ts.
  it.skipIf(existsSync(vsockDevice))(
    'that the host has not is refused by name, with the command that mends it, and nothing is left',
    async () => {
      const made = await wirt(daemon.socket, ['run', 'micro', 'box', '--vsock', '--network', 'none']);
      expect(made.exitCode).not.toBe(0);
      expect(made.stderr).toContain(vsockDevice);
      expect(made.stderr).toContain('modprobe vhost_vsock');
      await expect(instance('box')).rejects.toMatchObject({ code: 'instance.not_found' });
      await start('box', {});
      const changed = await wirt(daemon.socket, ['set', 'box', 'vsock=on']);
      expect(changed.stderr).toContain('modprobe vhost_vsock');
      expect((await instance('box')).spec.vsock).toBeUndefined();
      await remove('box');
    },
  );

  // Needs the module vhost_vsock.
  it.skipIf(!existsSync(vsockDevice))('is told by its address, which stays over stop and start', async () => {
    await start('box', {}, { vsock: true });
    const { vsockCid = 0 } = (await instance('box')).status;
    expect(vsockCid).toBeGreaterThanOrEqual(3);
    expect((await wirt(daemon.socket, ['show', 'box', '--tuning'])).stdout).toContain(`CID ${vsockCid}`);
    await wirt(daemon.socket, ['stop', 'box', '--force']);
    await wirt(daemon.socket, ['start', 'box']);
    expect((await instance('box')).status).toMatchObject({ vsockCid, run: { vsock: true } });
    await remove('box');
  });
});

describe('wirt show --tuning', () => {
  it('says of each setting what it is, who chose it, why, and what would be better', async () => {
    await start('web', { profile: 'density' });
    const { stdout } = await wirt(daemon.socket, ['show', 'web', '--tuning']);
    for (const word of [
      'density',
      'accelerator',
      'memory.merge',
      'hugepages',
      'placement',
      'disk.aio',
      'disk.iothreads',
      'virtio-rng',
      'watchdog',
      'pvpanic',
      'vmgenid',
    ])
      expect(stdout).toContain(word);
    const pid = (await instance('web')).status.process?.pid ?? 0;
    const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0');
    expect(words.find((word) => word.includes('"id":"ram0"'))).toContain('memory-backend-ram');
    expect(await readFile('/sys/kernel/mm/ksm/run', 'utf8')).toBe('1\n');
    await remove('web');
    // What somebody else has turned on stays.
    await until(async () => (await readFile('/sys/kernel/mm/ksm/run', 'utf8')) === knobsBefore[1]);
  });
});
