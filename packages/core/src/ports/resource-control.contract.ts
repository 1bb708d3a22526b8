// What every ResourceControl that makes groups of its own must do, run against the real kernel. Limits and usage:
// resource-control-limits.contract.ts.
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { afterEach, describe, expect, it } from 'vitest';
import {
  type Inside,
  id,
  type ResourceControlUnderTest,
  second,
  startInside as startJoined,
} from './resource-control-harness.contract.ts';

export type { ResourceControlUnderTest } from './resource-control-harness.contract.ts';

export function resourceControlContract(name: string, make: () => ResourceControlUnderTest): void {
  describe(`${name} as ResourceControl`, () => {
    const under = make();
    const { control, other } = under;
    const started: Inside[] = [];

    async function startInside(joinFiles: readonly string[], ...argv: string[]): Promise<Inside> {
      const child = await startJoined(joinFiles, ...argv);
      started.push(child);
      return child;
    }

    const remove = (group: string, of = control): Promise<void> =>
      of.remove(group, AbortSignal.timeout(20_000));

    afterEach(async () => {
      for (const child of started.splice(0)) child.kill('SIGKILL');
      for (const group of [id, second]) {
        await remove(group);
        await remove(group, other);
      }
      await under.expectClean();
    });

    it('takes in a process that writes itself into the join files', async () => {
      const { joinFiles } = await control.create(id);
      expect(joinFiles.length).toBeGreaterThan(0);
      const child = await startInside(joinFiles, 'sleep', '600');
      const groups = await readFile(`/proc/${child.pid}/cgroup`, 'utf8');
      expect(groups.split('\n').filter((line) => line.endsWith(`/${id}`))).toHaveLength(joinFiles.length);
      expect(await control.list()).toEqual([id]);
    });

    it('keeps a group that is there, with what is in it', async () => {
      const first = await control.create(id);
      const child = await startInside(first.joinFiles, 'sleep', '600');
      expect(await control.create(id)).toEqual(first);
      expect(await readFile(`/proc/${child.pid}/cgroup`, 'utf8')).toContain(`/${id}\n`);
    });

    it('kills what is left in a group when removing it', async () => {
      const { joinFiles } = await control.create(id);
      const children = [
        await startInside(joinFiles, 'sleep', '600'),
        await startInside(joinFiles, '/bin/sh', '-c', 'trap "" TERM HUP INT; sleep 600 & wait; sleep 600'),
      ];
      const ended = Promise.all(children.map((child) => once(child, 'exit')));
      await remove(id);
      for (const [, exitSignal] of await ended) expect(exitSignal).toBe('SIGKILL');
      expect(await control.list()).toEqual([]);
    });

    it('has nothing to do for a group that is not there', async () => {
      await remove(id);
      await remove(id);
      expect(await control.oomKills(id)).toBe(0);
    });

    it('keeps the groups of two daemons apart, also for the same id', async () => {
      const mine = await control.create(id);
      const theirs = await other.create(id);
      await other.create(second);
      expect(mine.joinFiles.filter((file) => theirs.joinFiles.includes(file))).toEqual([]);
      const child = await startInside(theirs.joinFiles, 'sleep', '600');
      await remove(id);
      expect(await control.list()).toEqual([]);
      expect(await other.list()).toEqual([id, second]);
      expect(child.exitCode ?? child.signalCode).toBeNull();
    });

    it('makes and removes many groups at the same time', async () => {
      const ids = Array.from({ length: 20 }, (_none, index) => `${id.slice(0, -2)}${10 + index}`);
      await Promise.all(
        ids.map(async (each) => {
          await control.create(each);
          await remove(each);
          await control.create(each);
        }),
      );
      expect(await control.list()).toEqual(ids);
      await Promise.all(ids.map((each) => remove(each)));
      expect(await control.list()).toEqual([]);
    });

    it('counts the processes that the kernel killed for memory', async (context) => {
      const refusal = control.refuses('ceilingMib');
      if (refusal !== undefined) return context.skip(refusal.why);
      const { joinFiles } = await control.create(id);
      expect(await control.oomKills(id)).toBe(0);
      await control.limit(
        id,
        { ceilingMib: 24, ...(control.refuses('swapMib') ? {} : { swapMib: 0 }) },
        undefined,
      );
      const child = await startInside(joinFiles, 'dd', 'if=/dev/zero', 'of=/dev/null', 'bs=96M', 'count=1');
      const [, exitSignal] = await once(child, 'exit', { signal: AbortSignal.timeout(20_000) });
      expect(exitSignal).toBe('SIGKILL');
      expect(await control.oomKills(id)).toBe(1);
    });

    it('refuses an id that could leave its place', async () => {
      for (const bad of ['..', '../x', 'a/b', ''])
        await expect(control.create(bad)).rejects.toMatchObject({ code: 'host.cgroup_failed' });
    });
  });
}
