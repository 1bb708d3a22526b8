// A panic of the guest's kernel, told to a real QEMU by its own test protocol as Linux' pvpanic driver tells it from inside, and what
// wirtd makes of it. Source: QEMU docs/specs/pvpanic.rst, docs/devel/testing/qtest.rst.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
// Polls: nobody tells when QEMU's socket is there.
import { setTimeout as pause } from 'node:timers/promises';
import { type Guest, type GuestEvent } from '@wirt/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ConsoleLink } from './console.ts';
import { connectTo, observe } from './control.ts';
import { createEventRelay, createGuest } from './guest.ts';
import { createQemuHarness, guestIdentity } from './harness.fixture.ts';
import { readPanicMark } from './panic-mark.ts';
import { platformDevices } from './platform-devices.ts';
import { readProcess } from './proc.ts';
import { silentLogger } from './silent-logger.fixture.ts';

const qemuBinary = '/usr/bin/qemu-system-x86_64';
const uuid = '01980000-0000-0000-0000-000000000003';
const id = '01JD0000000000000000000001';

/** Configuration of pvpanic-pci, 00:06.0: its only register goes to this address. */
const register = '0xfebf0000';
const config = (offset: number): string => `outl 0xcf8 ${0x8000_0000 + (6 << 11) + offset}`;
const located = [config(0x10), `outl 0xcfc ${register}`, config(4), 'outw 0xcfc 2'];
const panics = `writeb ${register} 1`;
/** The reset register of the chipset, as `panic=-1` makes the kernel use it. */
const resets = 'outb 0xcf9 6';

// Needs QEMU for x86.
describe.skipIf(!existsSync(qemuBinary))('a guest whose kernel has panicked', () => {
  let directory: string;
  let child: ChildProcess;
  const guests: Guest[] = [];

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'wirt-panic-'));
    const plan = { machine: 'q35', generation: uuid, nics: [], disks: [] } as const;
    child = spawn(
      qemuBinary,
      [
        ...['-machine', 'q35', '-accel', 'tcg', '-nodefaults', '-no-user-config', '-display', 'none'],
        ...['-bios', await idleFirmware(directory)],
        ...['-uuid', uuid, ...platformDevices(plan)],
        ...['-qmp', `unix:${join(directory, 'qmp')},server=on,wait=off`],
        ...['-qtest', 'stdio', '-qtest-log', 'none'],
      ],
      { stdio: ['pipe', 'ignore', 'ignore'] },
    );
  });
  afterEach(async () => {
    for (const guest of guests.splice(0)) guest.detach();
    if (child.exitCode === null && child.signalCode === null) {
      const exit = once(child, 'exit');
      child.kill('SIGKILL');
      await exit;
    }
    await rm(directory, { recursive: true });
  });

  const does = (...lines: string[]): void => void child.stdin?.write(`${lines.join('\n')}\n`);

  /** As wirtd holds it. */
  async function held(panicWaitMs: number): Promise<{
    guest: Guest;
    events: GuestEvent['kind'][];
    /** QEMU's own. */
    seen: string[];
  }> {
    const target = { id, uuid, path: join(directory, 'qmp') };
    const relay = createEventRelay();
    const seen: string[] = [];
    const connection = await connected(target, (event) => {
      seen.push(event.event);
      relay.onEvent(event);
    });
    const process = await readProcess(child.pid ?? 0);
    if (process === undefined) throw new Error('QEMU is gone');
    const console = { finish: async () => undefined, detach: () => undefined, listen: () => () => undefined };
    const paths = pathsIn(directory);
    const { guest, onEvent } = createGuest({
      target,
      paths,
      panickedAt: await readPanicMark(paths.panic),
      process,
      // Nothing else of it is used here.
      console: console as unknown as ConsoleLink,
      logger: silentLogger,
      connected: { connection, observation: await observe(connection, 5_000) },
      panicWaitMs,
      chooseAio: () => Promise.resolve({ direct: 'threads', cached: 'threads' }),
      shimExit: once(child, 'exit').then(([code]) => ({ kind: 'exited', code })),
    });
    relay.attach(onEvent);
    guests.push(guest);
    const events: GuestEvent['kind'][] = [];
    guest.listen(({ kind }) => void events.push(kind));
    return { guest, events, seen };
  }

  /** Once the guest has told so. */
  function told(guest: Guest, wanted: GuestEvent['kind']): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    AbortSignal.timeout(10_000).addEventListener('abort', () => reject(new Error(`no ${wanted}`)));
    guest.listen(({ kind }) => kind === wanted && resolve());
    return promise;
  }

  it('runs on without a pause that anybody sees, restarts by itself, and goes on', async () => {
    const { guest, events } = await held(1_000);
    does(...located, panics);
    const restarted = told(guest, 'reset');
    does(resets);
    await restarted;
    // Longer than it is waited for.
    await pause(1_500);
    expect(events.filter((kind) => kind !== 'agent')).toEqual(['reset']);
    expect(guest.state).toMatchObject({ processors: 'running', responsive: true });
  }, 20_000);

  it('and does not restart is ended, with the panic as the reason', async () => {
    const { guest } = await held(300);
    does(...located, panics);
    expect(await guest.exited).toMatchObject({
      process: { kind: 'exited', code: 0 },
      shutdownReason: 'guest-panic',
    });
  }, 20_000);

  it('is ended by the next daemon at the time that the one before would have, unless it restarts', async () => {
    const mark = pathsIn(directory).panic;
    const { guest: before, seen } = await held(4_000);
    does(...located, panics);
    while (!seen.includes('RESUME')) await pause(10);
    while (!existsSync(mark)) await pause(10);
    before.detach();
    const { guest: second } = await held(20_000);
    const restarted = told(second, 'reset');
    does(resets);
    await restarted;
    while (existsSync(mark)) await pause(10);
    second.detach();
    const { guest: third, seen: later } = await held(2_000);
    does(...located, panics);
    while (!later.includes('RESUME')) await pause(10);
    while (!existsSync(mark)) await pause(10);
    third.detach();
    const { guest } = await held(2_000);
    expect(await guest.exited).toMatchObject({ shutdownReason: 'guest-panic' });
  }, 20_000);

  it('while nobody was there is found halted, and runs on', async () => {
    const { guest: before } = await held(10_000);
    before.detach();
    does(...located, panics);
    await untilHalted();
    const { guest } = await held(1_000);
    if (guest.state.processors !== 'running') await told(guest, 'resumed');
    expect(await guest.exited).toMatchObject({ shutdownReason: 'guest-panic' });
  }, 20_000);

  it('and is paused by somebody who looks at it, stays', async () => {
    const { guest, events, seen } = await held(2_000);
    does(...located, panics);
    while (!seen.includes('RESUME')) await pause(10);
    await guest.pause(AbortSignal.timeout(5_000));
    // Longer than it is waited for.
    await pause(2_500);
    expect(guest.state.processors).toBe('paused');
    expect(events).toContain('paused');
    await guest.resume(AbortSignal.timeout(5_000));
    expect(await guest.exited).toMatchObject({ shutdownReason: 'guest-panic' });
  }, 20_000);

  async function untilHalted(): Promise<void> {
    const deadline = AbortSignal.timeout(10_000);
    for (;;) {
      const connection = await connected({ id, uuid, path: join(directory, 'qmp') }, () => undefined);
      const { panicked } = await observe(connection, 5_000);
      await connection.close();
      if (panicked) return;
      deadline.throwIfAborted();
      await pause(20);
    }
  }
});

// Needs QEMU for x86.
it.skipIf(!existsSync(qemuBinary))(
  'a guest that a new daemon takes up, and that writes to its console though the one before has noted its panic, is let be',
  async () => {
    await using harness = await createQemuHarness();
    const never = new AbortController().signal;
    const confinement = { identity: guestIdentity, controlGroup: { joinFiles: [] } };
    const before = await harness
      .open()
      .launch(harness.plan(), confinement, { signal: never, onStep: async () => undefined });
    await before.resume(never);
    before.detach();
    const mark = join(harness.directory, 'run', 'instances', before.id, 'panic');
    await writeFile(mark, '');
    // Of its 70 s, two are left.
    const at = Date.now() / 1000 - 68;
    await utimes(mark, at, at);
    const guest = await harness.open().attach({ id: before.id, process: before.process }, never);
    const deadline = AbortSignal.timeout(10_000);
    while (existsSync(mark)) {
      deadline.throwIfAborted();
      await pause(50);
    }
    expect(guest.state).toMatchObject({ processors: 'running', responsive: true });
    await guest.kill(never);
  },
  20_000,
);

/** At the reset vector: cli; hlt; and again. So nobody but the test changes the devices. */
async function idleFirmware(directory: string): Promise<string> {
  const path = join(directory, 'firmware');
  const rom = Buffer.alloc(64 * 1024);
  Buffer.from('faf4ebfd', 'hex').copy(rom, rom.length - 16);
  await writeFile(path, rom);
  return path;
}

function pathsIn(directory: string) {
  const at = (name: string): string => join(directory, name);
  return {
    ...{
      run: directory,
      pid: at('pid'),
      uid: at('uid'),
      exit: at('exit'),
      panic: at('panic'),
      state: directory,
    },
    sockets: { qmp: at('qmp'), console: at('console'), agent: at('agent') },
    ...{ qemuLog: at('qemu.log'), consoleLog: at('console.log') },
  };
}

async function connected(
  target: Parameters<typeof connectTo>[0],
  onEvent: Parameters<typeof connectTo>[1]['onEvent'],
) {
  const deadline = AbortSignal.timeout(10_000);
  for (;;) {
    const connection = await connectTo(target, { timeoutMs: 5_000, onEvent }).catch(() => undefined);
    if (connection !== undefined) return connection;
    deadline.throwIfAborted();
    await pause(20);
  }
}
