// Starts QEMU: directory, sockets, shim, and the first answer on QMP. When it returns the guest's processors stand still and
// its QMP is known to be its own; when it throws no process is left.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { type InstanceProcess, WirtError } from '@wirt/api';
import type { Confinement, LaunchPlan, Logger, ProcessExit } from '@wirt/core';
import type { QmpConnection, QmpEvent } from '@wirt/qemu';
import { confinedEnvironment } from '../../platform/confined.ts';
import { fsError } from '../../platform/fs-error.ts';
import { qemuArguments } from './arguments.ts';
import { connectTo } from './control.ts';
import type { DiscoverOptions } from './discover.ts';
import type { AioChoice } from './disk-nodes.ts';
import { exitOfStatus } from './exit.ts';
import { explainEarlyEnd } from './failure.ts';
import { listen } from './listen.ts';
import { untilUnlocked } from './locked.ts';
import { openRunLog, readLastLine } from './logs.ts';
import type { MemoryFiles } from './memory-files.ts';
import { memoryFileCount } from './memory-nodes.ts';
import { type GuestPaths, guestPaths } from './paths.ts';
import { isGroupAlive, readProcess } from './proc.ts';
import { shimCommand } from './shim.ts';
import { openTun } from './tun.ts';
import { lockedBytes } from './vfio-devices.ts';
import { openVsock } from './vsock.ts';

/**
 * QEMU with 64 vCPUs takes a third of a second; a hundred started at once on two cores take ten. By TCG what each further vCPU takes grows with
 * their number: 256 take 3 s, 1,024 a minute and a half.
 */
function connectDeadlineMs({ cpus, memoryMib, placement, devices }: LaunchPlan): number {
  // All of its memory is touched, or pinned, before it answers: a second for each GiB is what a slow host needs.
  const isTouched = placement?.pageSizeKib !== undefined || (devices ?? []).length > 0;
  return 30_000 + Math.max(0, cpus - 255) * 500 + (isTouched ? memoryMib : 0);
}
const pidDeadlineMs = 30_000;
const goneDeadlineMs = 10_000;

const noDisks: AioChoice = { direct: 'threads', cached: 'threads' };

export interface LaunchContext extends DiscoverOptions {
  readonly qemuBinary: string;
  readonly logger: Logger;
  readonly memoryFiles: Pick<MemoryFiles, 'open'>;
  /** The kernel's device for vsocks; another one in tests. */
  readonly vsockDevice?: string;
}

export interface LaunchOptions {
  readonly signal: AbortSignal;
  chooseAio(): Promise<AioChoice>;
  onStep(name: string): Promise<void>;
  onEvent(event: QmpEvent): void;
  /** QEMU's sockets are there and may be connected to; QEMU takes them up by and by. */
  onSpawned(): void;
}

export interface Launched {
  readonly process: InstanceProcess;
  readonly connection: QmpConnection;
  /** How QEMU ended, as long as this daemon lives. */
  readonly shimExit: Promise<ProcessExit>;
}

export async function launchQemu(
  context: LaunchContext,
  plan: LaunchPlan,
  confinement: Confinement,
  options: LaunchOptions,
): Promise<Launched> {
  const { signal } = options;
  const paths = guestPaths(context, plan.id);
  signal.throwIfAborted();
  await options.onStep('directory');
  await makeDirectory(paths, confinement);
  signal.throwIfAborted();
  await options.onStep('spawn');
  signal.throwIfAborted();
  // Without disks there is nothing to choose, and nothing to wait for.
  const aio = plan.disks.length === 0 ? noDisks : await options.chooseAio();
  if (plan.nics.some(({ backend }) => backend.type === 'tap')) await openTun(context.logger);
  let attempts = 0;
  return untilUnlocked(async () => {
    attempts += 1;
    if (attempts > 1) await makeDirectory(paths, confinement);
    await using memory = await context.memoryFiles.open(memoryFileCount(plan), confinement.identity);
    const argv = qemuArguments(plan, {
      tag: context.tag,
      aio,
      memory: memory === undefined ? 'memfd' : 'files',
    });
    const shim = await spawnShim(context, plan, confinement, { paths, argv, memory: memory?.fds ?? [] });
    try {
      options.onSpawned();
      if (attempts === 1) await options.onStep('connect');
      return await connectShim(context, plan, paths, shim, options);
    } catch (error) {
      await endShim(shim);
      signal.throwIfAborted();
      throw error;
    }
  }, signal);
}

async function makeDirectory(paths: GuestPaths, { identity }: Confinement): Promise<void> {
  try {
    await mkdir(paths.run, { recursive: true, mode: 0o700 });
    await mkdir(paths.state, { recursive: true, mode: 0o700 });
    await Promise.all([paths.pid, paths.exit, paths.panic].map((path) => rm(path, { force: true })));
    await writeFile(paths.uid, `${identity.uid}\n`, { mode: 0o600 });
  } catch (error) {
    throw fsError(error, 'prepare', paths.run, 'instance.start_failed');
  }
}

interface Shim {
  readonly child: ChildProcess;
  readonly exit: Promise<ProcessExit>;
}

async function spawnShim(
  context: LaunchContext,
  plan: LaunchPlan,
  confinement: Confinement,
  {
    paths,
    argv,
    memory,
  }: {
    readonly paths: GuestPaths;
    readonly argv: readonly string[];
    readonly memory: readonly number[];
  },
): Promise<Shim> {
  await using given = new AsyncDisposableStack();
  try {
    const log = given.use(await openRunLog(paths.qemuLog));
    const { qmp, console: serial, agent } = paths.sockets;
    // In the order of `inheritedFds`.
    const listeners = await Promise.all([listen(qmp), listen(serial), listen(agent)]);
    given.defer(() => {
      for (const listener of listeners) listener.close();
    });
    const vsock =
      plan.vsockCid === undefined ? undefined : given.use(await openVsock(plan.id, context.vsockDevice));
    const command = shimCommand({
      id: plan.id,
      runDirectory: paths.run,
      confinement,
      qemuBinary: context.qemuBinary,
      qemuArguments: argv,
      lockedBytes: lockedBytes(plan),
      privileged: process.geteuid?.() === 0,
    });
    const child = spawn(command.program, [...command.arguments], {
      cwd: '/',
      env: confinedEnvironment(confinement),
      detached: true,
      stdio: [
        ...['ignore' as const, log.fd, log.fd],
        ...[...listeners, vsock].map((one) => one?.fd ?? ('ignore' as const)),
        ...memory,
      ],
    });
    const exit = exitOf(child);
    child.unref();
    await once(child, 'spawn');
    return { child, exit };
  } catch (error) {
    throw spawnError(error, plan.id, paths);
  }
}

function spawnError(error: unknown, id: string, paths: GuestPaths): WirtError {
  if (error instanceof WirtError) return error;
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (syscall?.startsWith('spawn') && code === 'ENOENT') {
    return new WirtError('host.tool_missing', `The shell that starts instance ${id} was not found.`, {
      cause: error,
      hint: 'Install what is missing: apt install dash systemd',
    });
  }
  return fsError(error, 'start QEMU in', paths.run, 'instance.start_failed');
}

function exitOf(child: ChildProcess): Promise<ProcessExit> {
  return new Promise((resolve) => {
    child.once('error', () => resolve({ kind: 'lost' }));
    // A signal here is one that ended the shim, which says nothing of QEMU.
    child.once('exit', (code) => resolve(code === null ? { kind: 'lost' } : exitOfStatus(code)));
  });
}

async function connectShim(
  context: LaunchContext,
  plan: LaunchPlan,
  paths: GuestPaths,
  shim: Shim,
  options: LaunchOptions,
): Promise<Launched> {
  const target = { id: plan.id, uuid: plan.uuid, path: paths.sockets.qmp };
  const early = new AbortController();
  void shim.exit.then(() => early.abort());
  const signal = AbortSignal.any([options.signal, early.signal]);
  try {
    const { onEvent } = options;
    const connection = await connectTo(target, { timeoutMs: connectDeadlineMs(plan), signal, onEvent });
    try {
      return { process: await findProcess(paths), connection, shimExit: shim.exit };
    } catch (error) {
      await connection.close();
      throw error;
    }
  } catch (cause) {
    options.signal.throwIfAborted();
    // QEMU's end closes the connection a moment before its status is there.
    const exit = await Promise.race([shim.exit, delay(1_000, undefined)]);
    const lastLine = await readLastLine(paths.qemuLog);
    const { id, placement, vsockCid } = plan;
    const { qemuBinary } = context;
    const pageSizeKib = placement?.pageSizeKib;
    throw await explainEarlyEnd({ id, qemuBinary, exit, lastLine, pageSizeKib, vsockCid, cause });
  }
}

/** The shim has written the pid long before QEMU answers; a busy host may still have kept it from doing so. */
async function findProcess(paths: GuestPaths): Promise<InstanceProcess> {
  const deadline = performance.now() + pidDeadlineMs;
  for (;;) {
    const match = /^(\d+)\n$/.exec(await readFile(paths.pid, 'latin1').catch(() => ''));
    const found = match ? await readProcess(Number(match[1])) : undefined;
    if (found !== undefined) return found;
    if (performance.now() >= deadline) throw new Error(`There is no process by ${paths.pid}.`);
    await delay(5);
  }
}

/** Ends shim and QEMU, whatever state they are in. They are one process group. */
async function endShim({ child: { pid: group } }: Shim): Promise<void> {
  const deadline = performance.now() + goneDeadlineMs;
  while (group !== undefined && (await isGroupAlive(group)) && performance.now() < deadline) {
    try {
      process.kill(-group, 'SIGKILL');
    } catch {
      // The group is gone.
    }
    await delay(5);
  }
}
