// What every Hypervisor promises, as tests. The guest that the harness boots says "ready" on its console, echoes what is
// typed there, and powers off at the ACPI power button.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { LaunchPlan } from '../domain/guest.ts';
import type { Confinement, FoundGuest, Guest, GuestEvent, Hypervisor } from './hypervisor.ts';

export interface HypervisorHarness extends AsyncDisposable {
  readonly confinement: Confinement;
  /** A hypervisor over the same directories, like that of a daemon that was started again. */
  open(): Hypervisor;
  /** For a guest with an id of its own. */
  plan(): LaunchPlan;
  /** A plan that the hypervisor takes and its program refuses, with these words in its last line. */
  refusedPlan(): { readonly plan: LaunchPlan; readonly words: RegExp };
  /** Pids of everything that still runs for this guest, found by other means than the hypervisor's. */
  processes(id: string): Promise<number[]>;
  /** What is told of this machine's run-time files of a guest. */
  filesOf(id: string): Promise<string[]>;
  /** As if somebody had deleted the guest's run-time files. */
  emptyRunDirectory(id: string): Promise<void>;
}

const never = new AbortController().signal;
const steps = ['directory', 'spawn', 'connect'] as const;

export function hypervisorContract(name: string, createHarness: () => Promise<HypervisorHarness>): void {
  describe(`a hypervisor: ${name}`, () => {
    let harness: HypervisorHarness;
    let hypervisor: Hypervisor;

    beforeEach(async () => {
      harness = await createHarness();
      hypervisor = harness.open();
    });
    afterEach(() => harness[Symbol.asyncDispose]());

    const launch = (
      plan = harness.plan(),
      options: { signal?: AbortSignal; onStep?(step: string): Promise<void> } = {},
    ) =>
      hypervisor.launch(plan, harness.confinement, {
        signal: options.signal ?? never,
        onStep: options.onStep ?? (async () => {}),
      });

    describe('launching', () => {
      it('starts a guest with its processors stopped, in the named steps', async () => {
        const seen: string[] = [];
        const guest = await launch(undefined, { onStep: async (step) => void seen.push(step) });
        expect(seen).toEqual(steps);
        expect(guest.state).toEqual({ processors: 'paused', agent: false, responsive: true });
        expect(await harness.processes(guest.id)).toContain(guest.process.pid);
        expect(guest.process).toMatchObject({
          uid: harness.confinement.identity.uid,
          gid: harness.confinement.identity.gid,
        });
        await guest.kill(never);
      });

      it.each(steps)('leaves no process when the step %s fails', async (failing) => {
        const plan = harness.plan();
        const onStep = async (step: string): Promise<void> => {
          if (step === failing) throw new Error(`planted in ${step}`);
        };
        await expect(launch(plan, { onStep })).rejects.toThrow(`planted in ${failing}`);
        expect(await harness.processes(plan.id)).toEqual([]);
        expect(await hypervisor.discover()).toEqual([]);
      });

      it.each(steps)('leaves no process when it is aborted in the step %s', async (aborted) => {
        const plan = harness.plan();
        const controller = new AbortController();
        const onStep = async (step: string): Promise<void> => {
          if (step === aborted) controller.abort(new Error('no longer wanted'));
        };
        await expect(launch(plan, { onStep, signal: controller.signal })).rejects.toThrow('no longer wanted');
        expect(await harness.processes(plan.id)).toEqual([]);
      });

      it('says in its program’s own words why a guest did not start', async () => {
        const { plan, words } = harness.refusedPlan();
        const error = await launch(plan).catch((thrown: unknown) => thrown);
        expect(error).toMatchObject({
          code: 'instance.start_failed',
          cause: { message: expect.stringMatching(words) },
        });
        expect(await harness.processes(plan.id)).toEqual([]);
        expect(await text(hypervisor.readLog(plan.id, 'qemu'))).toMatch(words);
      });

      it('starts a guest again over what a former run has left', async () => {
        const plan = harness.plan();
        await (await launch(plan)).kill(never);
        const again = await launch(plan);
        await again.resume(never);
        await says(again, 'ready');
        await again.kill(never);
      });
    });

    describe('a running guest', () => {
      it('is resumed, paused and reset, and tells of each', async () => {
        const guest = await launch();
        const events = recorded(guest);
        await guest.resume(never);
        expect(guest.state.processors).toBe('running');
        await says(guest, 'ready');
        await guest.pause(never);
        expect(guest.state.processors).toBe('paused');
        await guest.reset(never);
        await guest.resume(never);
        await events.until('reset');
        expect(events.kinds()).toEqual(expect.arrayContaining(['resumed', 'paused', 'reset', 'resumed']));
        await guest.kill(never);
      });

      it('powers off at the power button, and that is told as the reason', async () => {
        const guest = await launch();
        await guest.resume(never);
        await says(guest, 'ready');
        await guest.powerDown(never);
        expect(await guest.exited).toMatchObject({
          process: { kind: 'exited', code: 0 },
          shutdownReason: 'guest-shutdown',
        });
        expect(await harness.processes(guest.id)).toEqual([]);
      });

      it('is gone when kill returns, and says which signal it was', async () => {
        const guest = await launch();
        await guest.resume(never);
        await guest.kill(never);
        expect(await harness.processes(guest.id)).toEqual([]);
        expect(await guest.exited).toMatchObject({ process: { kind: 'signalled', signal: 'SIGKILL' } });
        expect(await hypervisor.postMortem(guest.id)).toMatchObject({
          process: { kind: 'signalled', signal: 'SIGKILL' },
        });
      });

      it('tells of its end when it is killed by somebody else', async () => {
        const guest = await launch();
        process.kill(guest.process.pid, 'SIGTERM');
        expect(await guest.exited).toMatchObject({
          process: { kind: 'exited', code: 0 },
          shutdownReason: 'host-signal',
          lastLine: expect.stringContaining('signal 15'),
        });
      });

      it('is unresponsive within 3 s of being stopped, refuses commands at once, and comes back', async () => {
        const guest = await launch();
        await guest.resume(never);
        const events = recorded(guest);
        const start = performance.now();
        process.kill(guest.process.pid, 'SIGSTOP');
        await events.until('unresponsive');
        expect(performance.now() - start).toBeLessThan(3_000);
        expect(guest.state.responsive).toBe(false);
        await expect(guest.pause(never)).rejects.toMatchObject({ code: 'instance.unresponsive' });
        process.kill(guest.process.pid, 'SIGCONT');
        await events.until('responsive');
        await guest.pause(never);
        expect(guest.state).toMatchObject({ responsive: true, processors: 'paused' });
        await guest.kill(never);
      });

      it('is killed also when it does not answer', async () => {
        const guest = await launch();
        process.kill(guest.process.pid, 'SIGSTOP');
        await guest.kill(never);
        expect(await guest.exited).toMatchObject({ process: { kind: 'signalled', signal: 'SIGKILL' } });
      });

      it('goes on and ends in order when its run-time files are deleted', async () => {
        const guest = await launch();
        await guest.resume(never);
        await harness.emptyRunDirectory(guest.id);
        await guest.pause(never);
        expect(await hypervisor.discover()).toMatchObject([{ id: guest.id, process: guest.process }]);
        await guest.kill(never);
        expect(await guest.exited).toMatchObject({ process: { kind: 'signalled', signal: 'SIGKILL' } });
      });
    });

    describe('after a restart of the daemon', () => {
      const restarted = async (
        guest: Guest,
      ): Promise<{ found: FoundGuest; again: Guest; second: Hypervisor }> => {
        guest.detach();
        const second = harness.open();
        const [found] = await second.discover();
        if (found === undefined) throw new Error('The guest was not found.');
        return { found, again: await second.attach(found, never), second };
      };

      it('finds a running guest and takes it up as it is', async () => {
        const guest = await launch();
        await guest.resume(never);
        const { found, again } = await restarted(guest);
        expect(found).toEqual({ id: guest.id, process: guest.process });
        expect(again.state).toMatchObject({ processors: 'running', responsive: true });
        await again.pause(never);
        await again.kill(never);
        expect(await again.exited).toMatchObject({ process: { kind: 'signalled', signal: 'SIGKILL' } });
      });

      it('sees a guest that it has taken up power off', async () => {
        const guest = await launch();
        await guest.resume(never);
        await says(guest, 'ready');
        const { again } = await restarted(guest);
        await again.powerDown(never);
        expect(await again.exited).toMatchObject({
          process: { kind: 'exited', code: 0 },
          shutdownReason: 'guest-shutdown',
        });
      });

      it('knows how a guest ended while nobody looked', async () => {
        const guest = await launch();
        guest.detach();
        const second = harness.open();
        const [found] = await second.discover();
        if (found === undefined) throw new Error('The guest was not found.');
        await second.kill(found, never);
        expect(await second.discover()).toEqual([]);
        expect(await second.postMortem(guest.id)).toMatchObject({
          process: { kind: 'signalled', signal: 'SIGKILL' },
        });
      });

      it('takes up a stopped guest as unresponsive, and as responsive when it answers', async () => {
        const guest = await launch();
        guest.detach();
        process.kill(guest.process.pid, 'SIGSTOP');
        const { again } = await restarted(guest);
        expect(again.state.responsive).toBe(false);
        const events = recorded(again);
        process.kill(guest.process.pid, 'SIGCONT');
        await events.until('responsive');
        await again.resume(never);
        await again.kill(never);
      });

      it('kills a guest that never answers', async () => {
        const guest = await launch();
        process.kill(guest.process.pid, 'SIGSTOP');
        const { again } = await restarted(guest);
        await again.kill(never);
        expect(await harness.processes(guest.id)).toEqual([]);
      });
    });

    describe('the console', () => {
      it('shows what the guest writes, and the guest gets what is typed', async () => {
        const guest = await launch();
        await guest.resume(never);
        await says(guest, 'ready');
        const echo = says(guest, 'typed');
        guest.console.write(Buffer.from('typed'));
        await echo;
        await guest.kill(never);
        expect(await text(hypervisor.readLog(guest.id, 'console'))).toContain('typed');
      });

      it('replays what was written before a restart', async () => {
        const plan = harness.plan();
        const guest = await launch(plan);
        await guest.resume(never);
        await says(guest, 'ready');
        await guest.kill(never);
        const again = await launch(plan);
        expect(Buffer.from(again.console.replay()).toString()).toContain('ready');
        await again.kill(never);
      });
    });

    describe('run-time files', () => {
      it('are listed, and gone after clean; logs are gone after forget', async () => {
        const guest = await launch();
        await guest.resume(never);
        await says(guest, 'ready');
        await guest.kill(never);
        expect(await hypervisor.list()).toEqual([guest.id]);
        await hypervisor.clean(guest.id);
        await hypervisor.clean(guest.id);
        expect(await hypervisor.list()).toEqual([]);
        expect(await text(hypervisor.readLog(guest.id, 'console'))).toContain('ready');
        await hypervisor.forget(guest.id);
        expect(await text(hypervisor.readLog(guest.id, 'console'))).toBe('');
        expect(await harness.filesOf(guest.id)).toEqual([]);
      });

      it('are none before the first start', async () => {
        expect(await hypervisor.list()).toEqual([]);
        expect(await hypervisor.discover()).toEqual([]);
        expect(await hypervisor.postMortem(harness.plan().id)).toEqual({
          process: { kind: 'lost' },
          lastLine: '',
        });
      });
    });
  });
}

/** Resolves when the guest's console has shown `words`, replay included. */
async function says(guest: Guest, words: string): Promise<void> {
  let seen = Buffer.from(guest.console.replay()).toString();
  if (seen.includes(words)) return;
  const done = Promise.withResolvers<void>();
  const stop = guest.console.listen((data) => {
    seen += Buffer.from(data).toString();
    if (seen.includes(words)) done.resolve();
  });
  const ended = guest.exited.then(() => {
    throw new Error(`The guest ended before it said "${words}".`);
  });
  await Promise.race([done.promise, ended]).finally(stop);
}

function recorded(guest: Guest) {
  const events: GuestEvent[] = [];
  const waiting: (() => void)[] = [];
  guest.listen((event) => {
    events.push(event);
    for (const wake of waiting.splice(0)) wake();
  });
  return {
    kinds: () => events.map(({ kind }) => kind),
    async until(kind: GuestEvent['kind']): Promise<void> {
      while (!events.some((event) => event.kind === kind)) {
        await new Promise<void>((resolve) => waiting.push(resolve));
      }
    },
  };
}

async function text(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  return Buffer.concat(await Array.fromAsync(chunks)).toString();
}
