// What every privileged Sandbox must do, run against the real kernel: uids that nobody else has, across daemons and restarts,
// and a true account of a process's confinement.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { afterEach, describe, expect, it } from 'vitest';
import type { Identity, Sandbox } from './sandbox.ts';

export interface SandboxUnderTest {
  /** A daemon's sandbox; the same name again is the same daemon started again. All share one machine and one range. */
  daemon(name: string): Sandbox;
  /** How many uids the range has; a small one. */
  readonly uids: number;
  cleanUp(): Promise<void>;
}

const idOf = (index: number): string => `01J9ZK3W8Y7Q5T2R4M6N8P${String(1000 + index)}`;
const kvm = false;

async function processOf(pid: number): Promise<{ pid: number; startTicks: number }> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1');
  return { pid, startTicks: Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]) };
}

export function sandboxContract(name: string, make: () => Promise<SandboxUnderTest>): void {
  describe(`${name} as Sandbox`, () => {
    const running: ChildProcess[] = [];
    let under: SandboxUnderTest | undefined;

    async function machine(): Promise<SandboxUnderTest> {
      under = await make();
      return under;
    }
    /** A process confined as the launcher confines QEMU. */
    async function startAs({ uid, gid }: Identity): Promise<{ pid: number; child: ChildProcess }> {
      const confine = [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--no-new-privs'];
      const none = ['--inh-caps=-all', '--ambient-caps=-all', '--bounding-set=-all'];
      const program = ['/bin/sh', '-c', 'echo ready; exec sleep 600'];
      const child = spawn('setpriv', [...confine, ...none, ...program], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      running.push(child);
      await once(child.stdout, 'data', { signal: AbortSignal.timeout(10_000) });
      if (child.pid === undefined) throw new Error('setpriv did not start');
      return { pid: child.pid, child };
    }
    async function end(child: ChildProcess): Promise<void> {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }

    afterEach(async () => {
      for (const child of running.splice(0)) child.kill('SIGKILL');
      await under?.cleanUp();
    });

    it('gives each guest a uid of its own, the same one when asked again', async () => {
      const { daemon } = await machine();
      const one = daemon('one');
      const first = await one.claim(idOf(1), { kvm });
      const second = await one.claim(idOf(2), { kvm });
      expect(first).toMatchObject({ own: true, gid: first.uid, groups: [] });
      expect(second.uid).not.toBe(first.uid);
      expect(await one.claim(idOf(1), { kvm })).toEqual(first);
      expect(await one.claimed()).toEqual([idOf(1), idOf(2)]);
    });

    it('gives the same uid to two claims for one id at the same time', async () => {
      const one = (await machine()).daemon('one');
      const [first, second] = await Promise.all([one.claim(idOf(1), { kvm }), one.claim(idOf(1), { kvm })]);
      expect(second).toEqual(first);
      await one.release(idOf(1));
      expect(await one.claimed()).toEqual([]);
    });

    it('never gives one uid to two daemons, though both want all of them at once', async () => {
      const { daemon, uids } = await machine();
      const sandboxes = [daemon('one'), daemon('two')];
      const half = Math.floor(uids / 2);
      const identities = await Promise.all(
        sandboxes.flatMap((sandbox) =>
          Array.from({ length: half }, (_none, index) => sandbox.claim(idOf(index), { kvm })),
        ),
      );
      expect(new Set(identities.map(({ uid }) => uid)).size).toBe(2 * half);
    });

    it('remembers its claims after a restart, and lets others keep theirs', async () => {
      const { daemon } = await machine();
      const before = await daemon('one').claim(idOf(1), { kvm });
      const theirs = await daemon('two').claim(idOf(1), { kvm });
      const restarted = daemon('one');
      expect(await restarted.claimed()).toEqual([idOf(1)]);
      expect(await restarted.claim(idOf(1), { kvm })).toEqual(before);
      await restarted.release(idOf(1));
      expect(await restarted.claimed()).toEqual([]);
      expect(await daemon('two').claim(idOf(1), { kvm })).toEqual(theirs);
    });

    it('says when no uid is left, and has one again after a release', async () => {
      const { daemon, uids } = await machine();
      const one = daemon('one');
      for (let index = 0; index < uids; index += 1) await one.claim(idOf(index), { kvm });
      await expect(one.claim(idOf(uids), { kvm })).rejects.toMatchObject({ code: 'host.uids_exhausted' });
      const freed = await one.claim(idOf(0), { kvm });
      await one.release(idOf(0));
      await one.release(idOf(0));
      expect(await one.claim(idOf(uids), { kvm })).toEqual(freed);
    });

    it('does not give out a uid that still has a process', async () => {
      const one = (await machine()).daemon('one');
      const identity = await one.claim(idOf(1), { kvm });
      const { child } = await startAs(identity);
      await one.release(idOf(1));
      const other = await one.claim(idOf(1), { kvm });
      expect(other.uid).not.toBe(identity.uid);
      await one.release(idOf(1));
      await end(child);
      expect(await one.claim(idOf(1), { kvm })).toEqual(identity);
    });

    it('reads how a process is confined', async () => {
      const one = (await machine()).daemon('one');
      const identity = await one.claim(idOf(1), { kvm });
      const { pid } = await startAs(identity);
      const isolation = await one.inspect(idOf(1), await processOf(pid));
      const { uid } = identity;
      expect(isolation).toMatchObject({
        pid,
        uids: [uid, uid, uid, uid],
        gids: [uid, uid, uid, uid],
        groups: [],
        noNewPrivileges: true,
        capabilities: { inheritable: [], permitted: [], effective: [], bounding: [], ambient: [] },
      });
      expect(isolation.cgroups.length).toBeGreaterThan(0);
      expect(isolation.cgroups.some(({ own }) => own)).toBe(false);
      expect(isolation.namespaces.find((namespace) => namespace.name === 'net')).toMatchObject({
        id: expect.stringMatching(/^net:\[\d+\]$/),
        shared: true,
      });
      // Whatever runs the tests may hand down further files.
      expect(isolation.openFiles.slice(0, 3).map(({ fd }) => fd)).toEqual([0, 1, 2]);
      expect(isolation.openFiles[0]).toEqual({ fd: 0, target: '/dev/null' });
    });

    it('does not make a process look better than it is', async () => {
      const one = (await machine()).daemon('one');
      const isolation = await one.inspect(idOf(1), await processOf(process.pid));
      expect(isolation.noNewPrivileges).toBe(false);
      expect(isolation.capabilities.effective).toContain('cap_chown');
      expect(isolation.uids).toEqual([0, 0, 0, 0]);
    });

    it('says that a process is gone', async () => {
      const one = (await machine()).daemon('one');
      const { pid, child } = await startAs(await one.claim(idOf(1), { kvm }));
      const ended = await processOf(pid);
      await end(child);
      await expect(one.inspect(idOf(1), ended)).rejects.toMatchObject({ code: 'instance.state_conflict' });
    });

    it('does not take another process for one that had its pid', async () => {
      const one = (await machine()).daemon('one');
      const { pid, startTicks } = await processOf(process.pid);
      const earlier = { pid, startTicks: startTicks - 1 };
      await expect(one.inspect(idOf(1), earlier)).rejects.toMatchObject({ code: 'instance.state_conflict' });
    });
  });
}
