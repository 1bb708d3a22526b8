import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, readdir, readFile, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Guest, GuestEvent, LaunchPlan } from '@wirt/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type FakeMode, writeFakeQemu } from './fake-qemu.fixture.ts';
import {
  createQemuHarness,
  guestIdentity,
  isRoot,
  ownIdentity,
  type QemuHarness,
} from './harness.fixture.ts';
import { readProcess, readStat } from './proc.ts';

const never = new AbortController().signal;
let harness: QemuHarness;

beforeEach(async () => {
  harness = await createQemuHarness();
});
afterEach(() => harness[Symbol.asyncDispose]());

interface LaunchOptions {
  readonly plan?: LaunchPlan;
  readonly qemuBinary?: string;
  readonly joinFiles?: readonly string[];
  readonly signal?: AbortSignal;
  onStep?(step: string): Promise<void>;
}

function launch(options: LaunchOptions = {}): Promise<Guest> {
  const { qemuBinary, plan = harness.plan(), joinFiles = [], signal = never } = options;
  // A fake QEMU lies where only this user may look.
  const identity = qemuBinary === undefined ? guestIdentity : ownIdentity;
  return harness
    .open(qemuBinary === undefined ? {} : { qemuBinary })
    .launch(
      plan,
      { identity, controlGroup: { joinFiles } },
      { signal, onStep: options.onStep ?? (async () => {}) },
    );
}

async function fake(mode: FakeMode): Promise<string> {
  const path = join(harness.directory, `fake-${mode}`);
  await writeFakeQemu(path, mode);
  return path;
}

async function failure(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => undefined,
    (error: unknown) => error,
  );
}

function untilEvent(guest: Guest, kind: GuestEvent['kind']): Promise<void> {
  return new Promise((resolve) => {
    const stop = guest.listen((event) => {
      if (event.kind !== kind) return;
      stop();
      resolve();
    });
  });
}

describe('a QEMU binary', () => {
  it('that is missing is named, with the command that installs it', async () => {
    const error = await failure(launch({ qemuBinary: '/nowhere/qemu-system-x86_64' }));
    expect(error).toMatchObject({
      code: 'host.qemu_missing',
      message: expect.stringContaining('/nowhere/qemu-system-x86_64'),
      hint: expect.stringContaining('apt install qemu-system-x86'),
    });
  });

  it('that may not be executed is broken', async () => {
    const path = join(harness.directory, 'not-executable');
    await writeFile(path, '#!/bin/sh\n');
    await chmod(path, 0o644);
    expect(await failure(launch({ qemuBinary: path }))).toMatchObject({ code: 'host.qemu_broken' });
  });

  it('that dies without a word is broken', async () => {
    expect(await failure(launch({ qemuBinary: await fake('broken') }))).toMatchObject({
      code: 'host.qemu_broken',
    });
  });
});

describe('a QMP peer', () => {
  it.each(['garbage', 'other-guest'] as const)(
    'that is %s ends the launch and leaves no process',
    async (mode) => {
      const plan = harness.plan();
      const error = await failure(launch({ plan, qemuBinary: await fake(mode) }));
      expect(error).toMatchObject({ code: 'instance.start_failed' });
      expect(await harness.processes(plan.id)).toEqual([]);
    },
  );

  it('that never answers is gone when the launch is aborted', async () => {
    const plan = harness.plan();
    const controller = new AbortController();
    const onStep = async (step: string): Promise<void> => {
      if (step === 'connect') setImmediate(() => controller.abort(new Error('enough')));
    };
    const qemuBinary = await fake('silent');
    await expect(launch({ plan, qemuBinary, signal: controller.signal, onStep })).rejects.toThrow('enough');
    expect(await harness.processes(plan.id)).toEqual([]);
  });

  it('that hangs up is unresponsive, and responsive when it takes the next connection', async () => {
    const guest = await launch({ qemuBinary: await fake('hangs-up') });
    await untilEvent(guest, 'unresponsive');
    await untilEvent(guest, 'responsive');
    await guest.pause(never);
    await guest.kill(never);
  });

  it('that stops answering amid the attach is unresponsive, and responsive on a connection of its own later', async () => {
    const qemuBinary = await fake('stalls');
    const first = await launch({ qemuBinary });
    first.detach();
    const guest = await harness.open({ qemuBinary }).attach({ id: first.id, process: first.process }, never);
    expect(guest.state.responsive).toBe(false);
    await untilEvent(guest, 'responsive');
    await guest.kill(never);
    expect(await harness.processes(first.id)).toEqual([]);
  });

  it('of another guest is not taken up as this one', async () => {
    const qemuBinary = await fake('hangs-up');
    const first = await launch({ qemuBinary });
    first.detach();
    const hypervisor = harness.open({ qemuBinary });
    const [found] = await hypervisor.discover();
    expect(found?.id).toBe(first.id);
    // The same process under another guest's id: its uuid does not fit, and there is no socket.
    const wrong = { ...harness.plan(), process: first.process };
    const guest = await hypervisor.attach({ id: wrong.id, process: wrong.process }, never);
    expect(guest.state.responsive).toBe(false);
    await guest.kill(never);
    expect(await harness.processes(first.id)).toEqual([]);
  });
});

describe('the way into the control group', () => {
  it('leads through every file, once', async () => {
    const files = ['one', 'two'].map((name) => join(harness.directory, name));
    const guest = await launch({ joinFiles: files });
    expect(await Promise.all(files.map((file) => readFile(file, 'utf8')))).toEqual(['0\n', '0\n']);
    await guest.kill(never);
  });

  it('that is barred fails the start before QEMU runs', async () => {
    const plan = harness.plan();
    const error = await failure(launch({ plan, joinFiles: ['/nowhere/cgroup.procs'] }));
    expect(error).toMatchObject({
      code: 'host.cgroup_failed',
      cause: { message: expect.stringContaining('/nowhere/cgroup.procs') },
    });
    expect(await harness.processes(plan.id)).toEqual([]);
  });
});

describe('the shim', () => {
  it('may be killed: the guest runs on, is found again, and its end is not known', async () => {
    const guest = await launch();
    const shim = (await harness.processes(guest.id)).find((pid) => pid !== guest.process.pid);
    if (shim === undefined) throw new Error('The shim was not found.');
    process.kill(shim, 'SIGKILL');
    guest.detach();
    const hypervisor = harness.open();
    const [found] = await hypervisor.discover();
    expect(found).toEqual({ id: guest.id, process: guest.process });
    const again = await hypervisor.attach({ id: guest.id, process: guest.process }, never);
    await again.resume(never);
    await again.kill(never);
    expect((await again.exited).process).toEqual({ kind: 'lost' });
  });

  it('takes what it has started along when a guest is killed that was found as its shim alone', async () => {
    const launched = await launch();
    const { id } = launched;
    launched.detach();
    const shimPid = (await readStat(launched.process.pid))?.parent ?? 0;
    const shim = await readProcess(shimPid);
    if (shim === undefined) throw new Error('The shim was not found.');
    expect(await harness.processes(id)).toContain(shimPid);
    const guest = await harness.open().attach({ id, process: shim }, never);
    await guest.kill(never);
    expect(await harness.processes(id)).toEqual([]);
  });

  it('is not harmed by signals that end QEMU', async () => {
    const guest = await launch();
    for (const pid of await harness.processes(guest.id)) process.kill(pid, 'SIGTERM');
    expect((await guest.exited).process).toEqual({ kind: 'exited', code: 0 });
    expect(await harness.open().postMortem(guest.id)).toMatchObject({ process: { kind: 'exited', code: 0 } });
  });
});

// Only root has other users to play.
describe.runIf(isRoot)('a process of another user', () => {
  it('that calls itself by a guest’s name is not taken for the guest', async () => {
    const guest = await launch();
    const { process: own, id } = guest;
    const argv = ['-c', 'read line', 'sh', '-name', `guest=wirt-${harness.tag}-${id},x`, '-uuid', 'x'];
    const impostor = spawn('sh', argv, { uid: 987_655, stdio: ['pipe', 'ignore', 'ignore'] });
    const forged = ['-c', 'read line', 'wirt-guest', id, join(harness.directory, 'run/instances', id)];
    const shim = spawn('sh', forged, { uid: 987_655, stdio: ['pipe', 'ignore', 'ignore'] });
    await Promise.all([once(impostor, 'spawn'), once(shim, 'spawn')]);
    expect(await harness.open().discover()).toEqual([{ id, process: own }]);
    const ended = [once(impostor, 'exit'), once(shim, 'exit')];
    impostor.stdin?.end();
    shim.stdin?.end();
    await Promise.all(ended);
    await guest.kill(never);
  });
});

// An ordinary user has no privileges that could be dropped.
describe.runIf(isRoot)('the process of a guest', () => {
  it('has its own uid, no group, no capability, no way to new privileges, and a seccomp filter', async () => {
    const guest = await launch();
    const status = await readFile(`/proc/${guest.process.pid}/status`, 'utf8');
    const field = (key: string): string | undefined =>
      new RegExp(`^${key}:[ \\t]*(.*)$`, 'm').exec(status)?.[1]?.trim();
    const { uid, gid } = guestIdentity;
    expect({
      uids: field('Uid')?.split(/\s+/).map(Number),
      gids: field('Gid')?.split(/\s+/).map(Number),
      groups: field('Groups'),
      capabilities: ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'].map(field),
      noNewPrivileges: field('NoNewPrivs'),
      seccomp: field('Seccomp'),
    }).toEqual({
      uids: [uid, uid, uid, uid],
      gids: [gid, gid, gid, gid],
      groups: '',
      capabilities: Array.from({ length: 5 }, () => '0000000000000000'),
      noNewPrivileges: '1',
      seccomp: '2',
    });
    await guest.kill(never);
  });

  it('has no file of the daemon open but its log', async () => {
    const guest = await launch();
    const directory = `/proc/${guest.process.pid}/fd`;
    const targets = await Promise.all((await readdir(directory)).map((fd) => readlink(join(directory, fd))));
    const foreign = targets.filter(
      // Files of its memory have no name but a number.
      (target) => !/^(socket:|anon_inode:|pipe:|\/dev\/null$|\/memfd:|\/\d+ \(deleted\)$)/.test(target),
    );
    const log = join(harness.directory, 'state', 'instances', guest.id, 'qemu.log');
    expect([...new Set(foreign)]).toEqual([log]);
    await guest.kill(never);
  });
});
