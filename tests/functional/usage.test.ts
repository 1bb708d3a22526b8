// Usage of real guests: what a guest takes is what is told, over a killed wirtd and a stopped QEMU, by REST and /metrics.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Usage, UsageList } from '@wirt/api';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startDaemon, type TestDaemon } from './harness/daemon.ts';

const mib = 2 ** 20;
const at = (instance: string) => ({ params: { instance } });

/** The next pass after `list`, or after now. */
async function nextPass(daemon: TestDaemon, list?: UsageList): Promise<UsageList> {
  const { at: after } = list ?? (await daemon.client.call('GET /v1/usage', {}));
  return daemon.client.call('GET /v1/usage', { query: { after } });
}

function usageOf(list: UsageList, name: string): Usage {
  const found = list.items.find((each) => each.name === name);
  if (found === undefined) throw new Error(`${name} is in no pass.`);
  return found;
}

async function sh(daemon: TestDaemon, name: string, script: string): Promise<void> {
  const body = { argv: ['/bin/sh', '-c', script], timeoutSeconds: 60 };
  const { exitCode } = await daemon.client.call('POST /v1/instances/{instance}/exec', { ...at(name), body });
  expect(exitCode).toBe(0);
}

describe('usage', () => {
  let daemon: TestDaemon;

  beforeAll(async () => {
    daemon = await startDaemon();
    const data = {
      name: 'data',
      device: 'disk',
      bus: 'virtio',
      sizeBytes: 64 * mib,
      pool: 'default',
    } as const;
    const disks = [{ ...data, format: 'raw', readOnly: false }] as const;
    for (const name of ['one', 'two']) {
      const body = { name, start: true, spec: { image: 'micro', memoryMib: 96, disks: [...disks] } };
      await daemon.client.call('POST /v1/instances', { body, query: { wait: 'ready', waitSeconds: 60 } });
    }
  });
  afterAll(() => daemon[Symbol.asyncDispose]());

  it('tells a guest’s processor time and disk as it used them, and those of another that is idle', async () => {
    const before = await nextPass(daemon);
    await sh(daemon, 'one', 'dd if=/dev/zero of=/dev/vda oflag=direct bs=1M count=32 2>/dev/null');
    await sh(daemon, 'one', 'timeout 6 sh -c "while :; do :; done"; true');
    const after = await nextPass(daemon);
    const [busy, idle] = [usageOf(after, 'one'), usageOf(after, 'two')];
    const grown = busy.cpu.seconds - usageOf(before, 'one').cpu.seconds;
    expect(grown).toBeGreaterThan(2);
    expect(idle.cpu.cores).toBeLessThan(0.3);
    expect(busy.disks.map(({ name }) => name)).toEqual(['data']);
    const written = (busy.disks[0]?.writtenBytes ?? 0) - (usageOf(before, 'one').disks[0]?.writtenBytes ?? 0);
    expect(written).toBe(32 * mib);
    expect(busy.cpu.vcpus).toHaveLength(1);
    expect(busy.memory.usedMib).toBeGreaterThan(10);
    const page = await (await daemon.fetch('http://localhost/metrics')).text();
    expect(page).toMatch(/^wirt_instance_disk_written_bytes_total\{disk="data",instance="one",.*\} \d+$/m);
    expect(page).toContain('wirt_instances{state="running"} 2');
  });

  it('of a guest whose QEMU is stopped is told as stale, with kernel numbers, and of others as ever', async () => {
    const first = await nextPass(daemon);
    const { status } = await daemon.client.call('GET /v1/instances/{instance}', at('one'));
    const pid = status.process?.pid ?? 0;
    process.kill(pid, 'SIGSTOP');
    try {
      let list = await nextPass(daemon, first);
      while (usageOf(list, 'one').stale !== true) list = await nextPass(daemon, list);
      expect(usageOf(list, 'one').at).toBe(list.at);
      expect(usageOf(list, 'one').disks).toHaveLength(1);
      expect(usageOf(list, 'two').stale).toBeUndefined();
      const startedAt = performance.now();
      const next = await nextPass(daemon, list);
      // The period of 5 s and no wait beside.
      expect(performance.now() - startedAt).toBeLessThan(8_000);
      expect(usageOf(next, 'two').at).toBe(next.at);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    let list = await nextPass(daemon);
    while (usageOf(list, 'one').stale === true) list = await nextPass(daemon, list);
    expect(usageOf(list, 'one').disks).toHaveLength(1);
  });

  it('goes on in its history when wirtd was killed, and leaves nothing of an instance that is removed', async () => {
    const history = async () =>
      (await daemon.client.call('GET /v1/instances/{instance}/usage/history', at('one'))).points;
    await nextPass(daemon, await nextPass(daemon));
    const before = await history();
    expect(before.length).toBeGreaterThan(0);
    await daemon.kill();
    await daemon.start();
    await nextPass(daemon, await nextPass(daemon));
    const after = await history();
    expect(after.slice(0, before.length)).toEqual(before);
    expect(after.length).toBeGreaterThan(before.length);
    const unknown = await daemon.fetch('http://localhost/v1/instances/one/usage/history?resolutionSeconds=7');
    expect(await unknown.json()).toMatchObject({ code: 'request.invalid' });
    const { id } = await daemon.client.call('GET /v1/instances/{instance}', at('one'));
    const kept = join(daemon.stateDirectory, 'usage');
    expect(await readdir(kept)).toContain(id);
    const query = { force: 'true', wait: 'done' } as const;
    await daemon.client.call('DELETE /v1/instances/{instance}', { ...at('one'), query });
    // It looks for such at its start, and every hour.
    await daemon.kill();
    await daemon.start();
    await nextPass(daemon, await nextPass(daemon));
    expect(await readdir(kept)).not.toContain(id);
  });
});
