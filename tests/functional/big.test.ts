// Guests as big as QEMU and the accelerator allow, and no bigger; the processor that several hosts have in common; and what every
// guest is given beside. Seen from the kernel's side: the threads of QEMU are its vCPUs.
import { readdir, readFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startDaemon, type TestDaemon } from './harness/daemon.ts';

const done = { query: { wait: 'done' } } as const;
const at = (instance: string) => ({ params: { instance } });

let daemon: TestDaemon;

beforeAll(async () => {
  daemon = await startDaemon();
});

afterAll(() => daemon[Symbol.asyncDispose]());

afterEach(async () => {
  for (const { name } of (await daemon.client.call('GET /v1/instances', {})).items) {
    await daemon.client.call('DELETE /v1/instances/{instance}', {
      ...at(name),
      query: { force: 'true', wait: 'done' },
    });
  }
  expect(await daemon.remains()).toEqual([]);
});

async function pidOf(name: string): Promise<number> {
  const { status } = await daemon.client.call('GET /v1/instances/{instance}', at(name));
  return status.process?.pid ?? 0;
}

async function vcpuThreads(name: string): Promise<number> {
  const tasks = `/proc/${await pidOf(name)}/task`;
  const names = await Promise.all(
    (await readdir(tasks)).map((task) => readFile(`${tasks}/${task}/comm`, 'utf8')),
  );
  return names.filter((comm) => comm.startsWith('CPU ')).length;
}

/** What the program in the guest writes; waits for its end. */
async function inGuest(name: string, script: string): Promise<string> {
  const { stdout, exitCode, stderr } = await daemon.client.call('POST /v1/instances/{instance}/exec', {
    ...at(name),
    body: { argv: ['/bin/sh', '-c', script] },
  });
  expect(exitCode, atob(stderr)).toBe(0);
  return atob(stdout);
}

describe('a guest of 64 vCPUs and 2 TiB', () => {
  it('starts on a host that has far less, when it may', async () => {
    const spec = { cpus: 64, memoryMib: 2_097_152, overcommit: true, accelerator: 'tcg' } as const;
    await daemon.create('big', { start: true, spec });
    const { status } = await daemon.client.call('GET /v1/instances/{instance}', at('big'));
    expect(status).toMatchObject({ state: 'running', run: { cpus: 64, memoryMib: 2_097_152 } });
    expect(await vcpuThreads('big')).toBe(64);
  });
});

describe('a guest of more vCPUs than there can be', () => {
  it('is refused with the limit and where it comes from, and nothing is left', async () => {
    const spec = { cpus: 300, machine: 'microvm', accelerator: 'tcg', overcommit: true } as const;
    await daemon.create('wide', { spec });
    const refused = daemon.client.call('POST /v1/instances/{instance}/start', {
      ...at('wide'),
      body: {},
      ...done,
    });
    await expect(refused).rejects.toMatchObject({
      code: 'instance.too_many_vcpus',
      message: expect.stringMatching(/has 300 vCPUs, and .* allows 255\.$/),
      hint: expect.stringContaining('255'),
    });
    expect(await daemon.remains()).toEqual([]);
  });
});

describe('a CPU model', () => {
  it('computed for hosts can be had on them, feature by feature', async () => {
    const host = await daemon.client.call('GET /v1/host/cpu', { query: { accelerator: 'tcg' } });
    const other = { ...host, features: host.features.filter((feature) => feature !== 'avx2') };
    const { cpuModel, lost } = await daemon.client.call('POST /v1/host/cpu-baseline', {
      body: { hosts: [host, other] },
    });
    expect(lost[0]).toContain('avx2');
    await daemon.create('web', {
      start: true,
      spec: { cpuModel, accelerator: 'tcg', memoryMib: 128 },
    });
    const words = (await readFile(`/proc/${await pidOf('web')}/cmdline`, 'utf8')).split('\0');
    expect(words[words.indexOf('-cpu') + 1]).toBe(cpuModel);
    // QEMU says there what it leaves out.
    const log = await daemon.fetch('http://wirtd/v1/instances/web/logs?source=qemu');
    expect(log.status).toBe(200);
    expect(await log.text()).not.toMatch(/support requested feature/);
  });

  it('with a feature that guests cannot have here is refused by its name', async () => {
    await daemon.create('web', { spec: { cpuModel: 'max,+avx512f', accelerator: 'tcg' } });
    const refused = daemon.client.call('POST /v1/instances/{instance}/start', {
      ...at('web'),
      body: {},
      ...done,
    });
    await expect(refused).rejects.toMatchObject({
      code: 'host.cpu_model_unusable',
      message: expect.stringContaining('avx512f'),
    });
  });
});

describe('every guest', () => {
  it('has a source of randomness, and the number of its generation', async () => {
    await daemon.client.call('POST /v1/instances', {
      body: { name: 'web', start: true, spec: { image: 'micro', memoryMib: 128, accelerator: 'tcg' } },
      query: { wait: 'ready', waitSeconds: 60 },
    });
    expect(await inGuest('web', 'cat /sys/class/misc/hw_random/rng_available')).toContain('virtio_rng.0');
    expect(await inGuest('web', 'cat /sys/bus/acpi/devices/QEMUVGID*/hid')).toContain('QEMUVGID');
  });

  it('whose kernel panics and restarts by itself runs on in the same QEMU, and has not crashed', async () => {
    const spec = { image: 'micro', memoryMib: 128, accelerator: 'tcg', restart: 'on-failure' } as const;
    await daemon.client.call('POST /v1/instances', {
      body: { name: 'web', start: true, spec },
      query: { wait: 'ready', waitSeconds: 60 },
    });
    const before = await pidOf('web');
    // What the kernel's driver does when it panics (docs/specs/pvpanic.rst): bit 0 of the device's only register. Then
    // the panic itself: its kernel was told panic=-1.
    const device = '/sys/bus/pci/devices/0000:00:06.0';
    const told = `echo 1 > ${device}/enable; devmem $(head -n 1 ${device}/resource | cut -d' ' -f 1) 8 1`;
    // Nobody waits in it for what never ends there.
    await inGuest('web', `(${told}; echo c > /proc/sysrq-trigger) > /dev/null 2>&1 &`).catch(() => undefined);
    await daemon.log().find(({ event }) => event === 'guest.panicked', 'guest.panicked');
    await daemon
      .log()
      .find(({ event }) => event === 'guest.restarted_after_panic', 'guest.restarted_after_panic');
    const { status } = await daemon.client.call('GET /v1/instances/{instance}', at('web'));
    expect([status.state, status.exit, status.restarts, await pidOf('web')]).toEqual([
      'running',
      undefined,
      0,
      before,
    ]);
  });
});
