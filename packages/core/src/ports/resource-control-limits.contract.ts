// Limits and usage of every ResourceControl that makes groups of its own, proven against the real kernel: what processes get is
// measured. Shares of time are taken over windows that the test itself measures, and never compared with a clock.
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises'; // measuring takes time, and counters have no events
import type { InstanceProcess } from '@wirt/api';
import { afterEach, describe, expect, it, type TestContext } from 'vitest';
import type { GroupLimitKey, GroupLimits } from '../domain/limits/group-limits.ts';
import type { GroupUsage } from './resource-control.ts';
import {
  type Inside,
  id,
  identityOf,
  type ResourceControlUnderTest,
  says,
  second,
  startInside,
} from './resource-control-harness.contract.ts';

const spin = ['/bin/sh', '-c', 'while :; do :; done'];
const hold = (mib: number): string[] => [
  process.execPath,
  '-e',
  `const held = Buffer.alloc(${mib} * 1024 * 1024, 1); console.log('held'); setInterval(() => held, 1e6);`,
];
/** A busy machine may keep a group from what it is allowed for a while: the share must be right in one window of these. */
const windows = 6;
const windowMs = 2_000;

export function resourceControlLimitsContract(name: string, make: () => ResourceControlUnderTest): void {
  describe(`${name} as ResourceControl: limits`, () => {
    const under = make();
    const { control } = under;
    const started: Inside[] = [];

    async function inside(
      group: string,
      ...argv: string[]
    ): Promise<{ child: Inside; process: InstanceProcess }> {
      const { joinFiles } = await control.create(group);
      const child = await startInside(joinFiles, ...argv);
      started.push(child);
      return { child, process: await identityOf(child) };
    }

    function needs(context: TestContext, ...keys: GroupLimitKey[]): void {
      for (const key of keys) {
        const refusal = control.refuses(key);
        if (refusal !== undefined) context.skip(`${key}: ${refusal.why}`);
      }
    }

    function usageOf(group: string, process: InstanceProcess, threads: readonly number[] = []): GroupUsage {
      const usage = control.usage(group, process, threads);
      if (usage === undefined) throw new Error(`${group} has no usage`);
      return usage;
    }

    afterEach(async () => {
      for (const child of started.splice(0)) child.kill('SIGKILL');
      for (const group of [id, second]) await control.remove(group, AbortSignal.timeout(20_000));
      await under.expectClean();
    });

    it('reads back what was set, and nothing of what was taken away', async (context) => {
      needs(context, 'cores', 'burstMs', 'weight', 'ceilingMib', 'reservationMib', 'swapMib');
      const { process } = await inside(id, 'sleep', '600');
      expect(await control.limits(id, process)).toEqual({});
      const steps: GroupLimits[] = [
        { cores: 1.5, burstMs: 40, weight: 300, ceilingMib: 256, reservationMib: 64, swapMib: 16 },
        { cores: 0.25, burstMs: 5, weight: 20, ceilingMib: 128, reservationMib: 32, swapMib: 0 },
        { cores: 3, burstMs: 300, weight: 10_000, ceilingMib: 512, swapMib: 256 },
        { cores: 0.007, weight: 1 },
        { ceilingMib: 64 },
        {},
      ];
      for (const limits of steps) {
        await control.limit(id, limits, process);
        expect(await control.limits(id, process)).toEqual(limits);
        await control.limit(id, limits, process);
        expect(await control.limits(id, process)).toEqual(limits);
      }
    });

    it('takes no more of a burst than the limit allows', async (context) => {
      needs(context, 'cores', 'burstMs');
      await control.create(id);
      await control.limit(id, { cores: 0.5, burstMs: 500 }, undefined);
      expect(await control.limits(id, undefined)).toEqual({ cores: 0.5, burstMs: 50 });
    });

    it('limits a group before there is a process in it', async (context) => {
      needs(context, 'cores');
      const { joinFiles } = await control.create(id);
      await control.limit(id, { cores: 0.5 }, undefined);
      const child = await startInside(joinFiles, 'sleep', '600');
      started.push(child);
      expect(await control.limits(id, await identityOf(child))).toEqual({ cores: 0.5 });
    });

    it('gives a group that is left over to its next process without the limits of the last', async (context) => {
      needs(context, 'cores', 'ceilingMib');
      await control.create(id);
      await control.limit(id, { cores: 0.5, ceilingMib: 64 }, undefined);
      const { process } = await inside(id, 'sleep', '600');
      expect(await control.limits(id, process)).toEqual({});
    });

    it('keeps the limits of a group that is there with a process in it', async (context) => {
      needs(context, 'cores', 'ceilingMib');
      const { process } = await inside(id, 'sleep', '600');
      const limits = { cores: 0.5, ceilingMib: 64 };
      await control.limit(id, limits, process);
      await control.create(id);
      expect(await control.limits(id, process)).toEqual(limits);
    });

    it('gives a busy process the processor time that it is limited to', async (context) => {
      needs(context, 'cores');
      const { process } = await inside(id, ...spin);
      await under.favour?.();
      for (const cores of [0.3, 0.6]) {
        await control.limit(id, { cores }, process);
        await expectShare(cores, async () => {
          const [from, began] = [usageOf(id, process), performance.now()];
          await sleep(windowMs);
          return (usageOf(id, process).cpuSeconds - from.cpuSeconds) / ((performance.now() - began) / 1_000);
        });
      }
      const throttled = usageOf(id, process);
      expect(throttled.throttledPeriods).toBeGreaterThan(0);
      expect(throttled.throttledSeconds).toBeGreaterThan(0);
    });

    it('gives two busy groups on one processor what their weights say', async (context) => {
      needs(context, 'weight');
      const allowed = /^Cpus_allowed_list:\s*(\d+)/m.exec(await readFile('/proc/self/status', 'utf8'))?.[1];
      const pinned = ['taskset', '-c', allowed ?? '0', ...spin];
      const heavy = await inside(id, ...pinned);
      const light = await inside(second, ...pinned);
      await control.limit(id, { weight: 300 }, heavy.process);
      await control.limit(second, { weight: 100 }, light.process);
      const seconds = () =>
        [usageOf(id, heavy.process).cpuSeconds, usageOf(second, light.process).cpuSeconds] as const;
      await expectShare(3, async () => {
        const from = seconds();
        await sleep(windowMs);
        const to = seconds();
        return (to[0] - from[0]) / (to[1] - from[1]);
      });
    });

    it('kills for the ceiling what goes above it, and nothing below', async (context) => {
      needs(context, 'ceilingMib');
      const { joinFiles } = await control.create(id);
      await control.limit(
        id,
        { ceilingMib: 96, ...(control.refuses('swapMib') ? {} : { swapMib: 0 }) },
        undefined,
      );
      const ends = async (size: string): Promise<unknown[]> => {
        const child = await startInside(
          joinFiles,
          'dd',
          'if=/dev/zero',
          'of=/dev/null',
          `bs=${size}`,
          'count=1',
        );
        started.push(child);
        return once(child, 'exit', { signal: AbortSignal.timeout(20_000) });
      };
      expect(await ends('64M')).toEqual([0, null]);
      expect(await control.oomKills(id)).toBe(0);
      expect(await ends('160M')).toEqual([null, 'SIGKILL']);
      expect(await control.oomKills(id)).toBe(1);
    });

    it('keeps what was in force when a ceiling is below what is in use', async (context) => {
      needs(context, 'ceilingMib', 'swapMib', 'cores');
      const { child, process } = await inside(id, ...hold(96));
      await says(child);
      const limits = { ceilingMib: 512, swapMib: 0, cores: 1 };
      await control.limit(id, limits, process);
      await expect(
        control.limit(id, { ceilingMib: 32, swapMib: 0, cores: 0.5 }, process),
      ).rejects.toMatchObject({
        code: 'limit.failed',
        details: { key: 'ceilingMib' },
        cause: { cause: expect.any(Error) },
      });
      expect(await control.limits(id, process)).toEqual(limits);
      expect(child.exitCode ?? child.signalCode).toBeNull();
      expect(await control.oomKills(id)).toBe(0);
    });

    it('changes nothing when one of the limits is beyond this host', async (context) => {
      needs(context, 'cores');
      const { process } = await inside(id, 'sleep', '600');
      await control.limit(id, { cores: 1 }, process);
      await expect(control.limit(id, { weight: 200, cores: 0.0001 }, process)).rejects.toMatchObject({
        code: 'limit.unsupported',
        details: { key: 'cores' },
      });
      expect(await control.limits(id, process)).toEqual({ cores: 1 });
    });

    it('says why and what to do for each limit that it refuses, and keeps none of them', async () => {
      const keys = [
        'cores',
        'burstMs',
        'weight',
        'ceilingMib',
        'reservationMib',
        'swapMib',
        'ioWeight',
      ] as const;
      await control.create(id);
      for (const key of keys) {
        const refusal = control.refuses(key);
        if (refusal === undefined) continue;
        expect(refusal).toEqual({ why: expect.stringMatching(/\.$/), hint: expect.stringMatching(/\S/) });
        await expect(control.limit(id, { [key]: 50 }, undefined)).rejects.toMatchObject({
          code: 'limit.unsupported',
          details: { key },
        });
      }
    });

    it('makes a group again that somebody else removed, with its limits and all threads of the process', async () => {
      const limits: GroupLimits = control.refuses('cores') ? {} : { cores: 0.5 };
      const { child, process } = await inside(id, ...hold(1));
      await says(child);
      await control.limit(id, limits, process);
      const threads = (await readdir(`/proc/${process.pid}/task`)).map(Number);
      expect(threads.length).toBeGreaterThan(1);
      expect(control.usage(id, process, threads)).toBeDefined();
      const before = await memberships(process.pid, threads);

      await under.evict(id, process.pid);
      expect(await control.limits(id, process)).toBeUndefined();
      expect(control.usage(id, process, threads)).toBeUndefined();
      await control.limit(id, limits, process);
      expect(await control.limits(id, process)).toEqual(limits);
      expect(await memberships(process.pid, threads)).toEqual(before);
      expect(control.usage(id, process, threads)?.threads).toHaveLength(threads.length);
    });

    it('sees what somebody else has changed, and puts it right', async (context) => {
      needs(context, 'cores');
      if (under.meddle === undefined) return context.skip('there is nothing to meddle with');
      const { process } = await inside(id, 'sleep', '600');
      await control.limit(id, { cores: 0.5 }, process);
      await under.meddle(id);
      expect(await control.limits(id, process)).not.toEqual({ cores: 0.5 });
      await control.limit(id, { cores: 0.5 }, process);
      expect(await control.limits(id, process)).toEqual({ cores: 0.5 });
    });

    it('does not take in another process that has the number of the one that ended', async () => {
      const { process } = await inside(id, 'sleep', '600');
      await under.evict(id, process.pid);
      const another = { ...process, startTicks: process.startTicks - 1 };
      await expect(control.limit(id, {}, another)).rejects.toMatchObject({ code: 'limit.failed' });
      expect(await control.limits(id, process)).toBeUndefined();
    });

    it('counts what the group and its threads use', async () => {
      const { process } = await inside(id, ...spin);
      let usage = usageOf(id, process, [process.pid]);
      for (const end = performance.now() + 20_000; performance.now() < end; ) {
        const from = usage;
        await sleep(50);
        usage = usageOf(id, process, [process.pid]);
        expect(usage.cpuSeconds).toBeGreaterThanOrEqual(from.cpuSeconds);
        if ((usage.threads[0]?.cpuSeconds ?? 0) > 0.2) break;
      }
      expect(usage.threads[0]?.cpuSeconds).toBeGreaterThan(0.2);
      // The group counts the shell as well that the process was before.
      expect(usage.cpuSeconds).toBeGreaterThan(0.15);
      expect(usage.memoryBytes).toBeGreaterThan(0);
    });

    it('counts nothing for a thread that there is not, and keeps the order', async () => {
      const { process } = await inside(id, ...spin);
      await expect.poll(() => usageOf(id, process, [process.pid]).threads[0]?.cpuSeconds).toBeGreaterThan(0);
      const [gone, alive] = usageOf(id, process, [2 ** 22, process.pid]).threads;
      expect(gone).toEqual({ cpuSeconds: 0, stealSeconds: 0 });
      expect(alive?.cpuSeconds).toBeGreaterThan(0);
    });

    it('knows nothing of a group that is not there', async () => {
      const { process } = await inside(second, 'sleep', '600');
      expect(await control.limits(id, process)).toBeUndefined();
      expect(await control.limits(id, undefined)).toBeUndefined();
      expect(control.usage(id, process, [])).toBeUndefined();
    });

    it('has no usage of a group that it has removed, and new counters for the next of the name', async () => {
      const { child, process } = await inside(id, ...spin);
      await expect.poll(() => usageOf(id, process).cpuSeconds).toBeGreaterThan(0.1);
      const ended = once(child, 'exit');
      await control.remove(id, AbortSignal.timeout(20_000));
      await ended;
      expect(control.usage(id, process, [])).toBeUndefined();
      const next = await inside(id, 'sleep', '600');
      expect(usageOf(id, next.process).cpuSeconds).toBeLessThan(0.1);
    });
  });
}

async function memberships(pid: number, threads: readonly number[]): Promise<string[]> {
  return Promise.all(threads.map((thread) => readFile(`/proc/${pid}/task/${thread}/cgroup`, 'utf8')));
}

/** Within a tenth, in one of the windows. */
async function expectShare(share: number, measure: () => Promise<number>): Promise<void> {
  const measured: number[] = [];
  for (let window = 0; window < windows; window += 1) {
    measured.push(await measure());
    if (measured.some((one) => Math.abs(one - share) <= share / 10)) return;
  }
  expect(measured).toContain(`one within a tenth of ${share}`);
}
