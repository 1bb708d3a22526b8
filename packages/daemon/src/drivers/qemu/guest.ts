// A running guest: its state as QMP tells it, its commands, and its end. Put together from control, console, agent, disks and cards.
import { type InstanceProcess, WirtError } from '@wirt/api';
import type { Guest, GuestExit, Logger, ProcessExit } from '@wirt/core';
import type { QmpConnection, QmpEvent } from '@wirt/qemu';
import { type AgentLink, createAgentLink } from './agent.ts';
import { createHotplugAgent } from './agent-hotplug.ts';
import { agentPort } from './arguments.ts';
import type { ConsoleLink } from './console.ts';
import { type Control, createControl, type Observation, type QmpTarget } from './control.ts';
import { killFound } from './discover.ts';
import { tellFailedDisks } from './disk-failure.ts';
import type { AioChoice } from './disk-nodes.ts';
import { createDisks, type DisksLink } from './disks.ts';
import { guestExit, waitForExit } from './exit.ts';
import { createGuestEvents, createProcessors } from './guest-events.ts';
import { boundRunLog } from './logs.ts';
import { createNics, type NicsLink } from './nics.ts';
import { createPanicWatch, type PanicEnd, panicWaitMs } from './panic.ts';
import { createPanicMark } from './panic-mark.ts';
import type { GuestPaths } from './paths.ts';
import { openTun } from './tun.ts';
import { createTuning, type TuningLink } from './tuning.ts';

/** For the shim's word after the process is gone. */
const exitFileMs = 1_000;
const killMs = 10_000;

/** What the guest's own watchdog and kernel say; the reset or the end that follows is told on its own. */
function tellTrouble(event: QmpEvent, id: string, logger: Logger): void {
  switch (event.event) {
    case 'WATCHDOG':
      return logger.warn('guest.watchdog_fired', { id, action: event.data.action });
    case 'GUEST_PANICKED':
      return logger.warn('guest.panicked', { id, action: event.data.action });
    case 'GUEST_CRASHLOADED':
      return logger.warn('guest.crash_kernel_loaded', { id, action: event.data.action });
    default:
      return;
  }
}

export interface GuestParts {
  readonly target: QmpTarget;
  readonly paths: GuestPaths;
  readonly process: InstanceProcess;
  readonly console: ConsoleLink;
  readonly logger: Logger;
  /** Undefined: not as yet connected, or not to its own QEMU. */
  readonly connected: { readonly connection: QmpConnection; readonly observation: Observation } | undefined;
  /** Less in tests. */
  readonly panicWaitMs?: number;
  /** As an earlier daemon has noted, in ms of the wall clock. */
  readonly panickedAt?: number | undefined;
  chooseAio(): Promise<AioChoice>;
  /** Only where this daemon started the process. */
  readonly shimExit?: Promise<ProcessExit>;
}

export interface GuestHandle {
  readonly guest: Guest;
  /** The listener of a connection that was made before the guest was. */
  onEvent(event: QmpEvent): void;
}

/** Events of a connection that is made before its guest is: kept until there is one. */
export function createEventRelay(): {
  onEvent(event: QmpEvent): void;
  attach(to: (event: QmpEvent) => void): void;
} {
  const kept: QmpEvent[] = [];
  let target: ((event: QmpEvent) => void) | undefined;
  return {
    onEvent(event) {
      if (target) target(event);
      else kept.push(event);
    },
    attach(to) {
      target = to;
      for (const event of kept.splice(0)) to(event);
    },
  };
}

/** One that does not go on after its panic is ended, which `onGiveUp` is told before. */
function watchPanics(
  parts: GuestParts,
  control: Control,
  { agent, ended }: { readonly agent: AgentLink; readonly ended: AbortSignal },
  onGiveUp: (why: PanicEnd) => void,
): ReturnType<typeof createPanicWatch> {
  const { target, paths, process, console, logger, panickedAt, panicWaitMs: waitMs = panicWaitMs } = parts;
  const { id } = target;
  let hasWritten = false;
  if (panickedAt !== undefined)
    console.listen(() => {
      hasWritten = true;
    });
  return createPanicWatch({
    id,
    logger,
    waitMs,
    panickedAt,
    mark: createPanicMark({ id, path: paths.panic, logger }),
    lives: () => hasWritten || agent.answers,
    resume: () => control.execute('cont', ended),
    async giveUp(why) {
      onGiveUp(why);
      await control
        .ask('quit', {}, ended)
        .catch(() => killFound({ id, process }, AbortSignal.timeout(killMs)));
    },
  });
}

interface Devices {
  readonly disks: DisksLink;
  readonly nics: NicsLink;
  readonly tuning: TuningLink;
}

/** What is plugged into it, and what of it can be changed. */
function createDevices(
  { target: { id }, process, logger, chooseAio }: GuestParts,
  { ask }: Control,
  { agent, ended }: { readonly agent: AgentLink; readonly ended: AbortSignal },
): Devices {
  const own = { id, ask, logger };
  const disks = createDisks({ ...own, ended, chooseAio: () => chooseAio() });
  const nics = createNics({ ...own, openTun: () => openTun(logger) });
  const hotplug = createHotplugAgent({ id, logger, agent });
  return { disks, nics, tuning: createTuning({ ...own, pid: process.pid, disks, hotplug }) };
}

/** The disk is in: that its threads run elsewhere is told, and is no reason to take it out. */
function attachPinned(
  disks: DisksLink,
  tuning: TuningLink,
  { id, logger, ended }: { readonly id: string; readonly logger: Logger; readonly ended: AbortSignal },
): Guest['disks']['attach'] {
  return async (disk, signal) => {
    await disks.attach(disk, signal);
    await tuning.pinAgain(ended).catch((error: unknown) => {
      logger.warn('guest.disk_not_pinned', { id, disk: disk.name, error });
    });
  };
}

export function createGuest(parts: GuestParts): GuestHandle {
  const { target, paths, logger, console, connected } = parts;
  const { id } = target;
  const { emit, listen, clear } = createGuestEvents({ id, logger });
  const processors = createProcessors(emit, connected?.observation);
  const gone = Promise.withResolvers<GuestExit>();
  let responsive = connected !== undefined;
  let shutdownReason: string | undefined;
  const ended = new AbortController();
  let ending = false;

  const agent: AgentLink = createAgentLink({
    id,
    path: paths.sockets.agent,
    logger,
    onAnswers: (answers) => emit({ kind: 'agent', answers }),
  });

  const onEvent = (event: QmpEvent): void => {
    for (const part of [disks, nics, tuning, panic]) part.onEvent(event);
    switch (event.event) {
      case 'STOP':
        return setRunning(false);
      case 'RESUME':
        return processors.set(true);
      case 'RESET':
        return emit({ kind: 'reset' });
      case 'BLOCK_IO_ERROR':
        if (event.data.action !== 'stop') return;
        processors.fail(event.data.nospace === true ? 'no-space' : 'io-error');
        return tellFailedDisks({ id, ask: control.ask, logger, emit });
      case 'SHUTDOWN':
        if (!panic.isOver) shutdownReason = String(event.data.reason).slice(0, 40);
        return;
      case 'VSERPORT_CHANGE':
        if (event.data.id === agentPort) agent.portChanged(event.data.open === true);
        return;
      default:
        return tellTrouble(event, id, logger);
    }
  };

  /** A halt for a panic is no pause. */
  const setRunning = (running: boolean): void => {
    if (running || !panic.isHalted) processors.set(running);
  };

  /** Once the process is gone; called by whoever sees it first. */
  const end = async (): Promise<void> => {
    if (ending) return;
    ending = true;
    ended.abort(new WirtError('instance.died', `Instance ${id} ended meanwhile.`));
    control.detach();
    panic.detach();
    agent.detach();
    await console.finish();
    const result = await guestExit(paths, await exitOf(parts, exitFileMs), shutdownReason);
    logger.info('guest.exited', { id, pid: parts.process.pid, ...result });
    gone.resolve(result);
  };
  const endLogged = (): void => {
    end().catch((error: unknown) => {
      logger.error('guest.end_failed', { id, error });
      gone.resolve({ process: { kind: 'lost' }, lastLine: '' });
    });
  };

  const control: Control = createControl({
    target,
    process: parts.process,
    connection: connected?.connection,
    logger,
    onEvent,
    onObserved({ running, agentPortOpen, panicked, ...observed }) {
      if (panicked !== undefined) panic.found({ panicked, running });
      setRunning(running);
      if ('diskError' in observed) processors.fail(observed.diskError);
      if (agentPortOpen !== undefined) agent.portChanged(agentPortOpen);
    },
    onResponsive(now) {
      responsive = now;
      emit({ kind: now ? 'responsive' : 'unresponsive' });
    },
    onGone: endLogged,
    onMinute: () => void boundRunLog(paths.qemuLog),
  });
  const panic = watchPanics(parts, control, { agent, ended: ended.signal }, (why) => {
    shutdownReason = why;
  });
  const { disks, nics, tuning } = createDevices(parts, control, { agent, ended: ended.signal });
  if (connected?.observation.agentPortOpen) agent.portChanged(true);
  if (connected !== undefined) panic.found(connected.observation);

  const guest: Guest = {
    id,
    process: parts.process,
    console,
    agent,
    disks: { ...disks, attach: attachPinned(disks, tuning, { id, logger, ended: ended.signal }) },
    nics,
    tuning,
    get state() {
      const { state, diskError } = processors;
      return { processors: state, diskError, agent: agent.answers, responsive };
    },
    resume: (signal) => control.execute('cont', signal),
    pause: (signal) => control.execute('stop', signal),
    reset: (signal) => control.execute('system_reset', signal),
    powerDown: (signal) => control.execute('system_powerdown', signal),
    async kill(signal) {
      signal.throwIfAborted();
      await killFound({ id, process: parts.process }, signal);
      endLogged();
      await gone.promise;
    },
    exited: gone.promise,
    listen,
    detach() {
      ended.abort(new WirtError('daemon.stopping', `Instance ${id} is let go of; it runs on.`));
      panic.detach();
      control.detach();
      agent.detach();
      console.detach();
      clear();
    },
  };
  return { guest, onEvent };
}

/** From the shim itself where it is this daemon's child, else, or when the shim was killed, from its file. */
async function exitOf({ paths, shimExit }: GuestParts, timeoutMs: number): Promise<ProcessExit> {
  const file = waitForExit(paths, timeoutMs);
  const first = shimExit === undefined ? await file : await Promise.race([shimExit, file]);
  return first.kind === 'lost' ? file : first;
}
