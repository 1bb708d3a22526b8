// The hypervisor on QEMU: one process per guest, which outlives the daemon. This file puts the parts together.
import { readdir, rm } from 'node:fs/promises';
import type { FoundGuest, Guest, Hypervisor } from '@wirt/core';
import { uuidOf } from '@wirt/core';
import type { QmpConnection, QmpEvent } from '@wirt/qemu';
import { fsError } from '../../platform/fs-error.ts';
import { createAioProbe } from './aio.ts';
import { createConsoleLink } from './console.ts';
import { connectTo, type Observation, observe, type QmpTarget } from './control.ts';
import { discover, killFound } from './discover.ts';
import { readPostMortem } from './exit.ts';
import { createEventRelay, createGuest } from './guest.ts';
import { type LaunchContext, launchQemu } from './launch.ts';
import { readWholeLog } from './logs.ts';
import { readPanicMark } from './panic-mark.ts';
import { guestPaths, instancesDirectory, isSafeId } from './paths.ts';

/** A QEMU that is stopped must not hold up the adoption of the others. */
const attachDeadlineMs = 1_500;

export type QemuHypervisorOptions = LaunchContext;

/** Throws `daemon.config_invalid` when the run directory is too long for Unix sockets. */
export function createQemuHypervisor(options: QemuHypervisorOptions): Hypervisor {
  const { logger } = options;
  const aio = createAioProbe(options);
  const chooseAio = () => aio.choose();
  const pathsOf = (id: string) => guestPaths(options, id);
  // Ids are this long (ULID); better told now than at the first start.
  pathsOf('0'.repeat(26));

  return {
    async launch(plan, confinement, { signal, onStep }) {
      const paths = pathsOf(plan.id);
      const relay = createEventRelay();
      const console = await createConsoleLink({ id: plan.id, paths, logger });
      try {
        const { process, connection, shimExit } = await launchQemu(options, plan, confinement, {
          signal,
          chooseAio,
          onStep: (name) => onStep(name),
          onEvent: relay.onEvent,
          onSpawned: () => console.start(),
        });
        const target = { id: plan.id, uuid: plan.uuid, path: paths.sockets.qmp };
        const observation = { running: false, agentPortOpen: false, diskError: undefined, panicked: false };
        const connected = { connection, observation };
        const parts = { target, paths, process, console, logger, connected, chooseAio, shimExit };
        const { guest, onEvent } = createGuest(parts);
        relay.attach(onEvent);
        logger.info('guest.launched', { id: plan.id, pid: process.pid });
        return guest;
      } catch (error) {
        console.detach();
        throw error;
      }
    },

    discover: () => discover(options),

    async attach(found, signal): Promise<Guest> {
      const { id, process } = found;
      const paths = pathsOf(id);
      const relay = createEventRelay();
      const target = { id, uuid: uuidOf(id), path: paths.sockets.qmp };
      const console = await createConsoleLink({ id, paths, logger });
      const panickedAt = await readPanicMark(paths.panic);
      const connected = await connectToFound(target, signal, relay.onEvent).catch((error: unknown) => {
        logger.warn('guest.attach_silent', { id, pid: process.pid, error });
        return undefined;
      });
      if (signal.aborted) {
        console.detach();
        await connected?.connection.close();
        signal.throwIfAborted();
      }
      console.start();
      const { guest, onEvent } = createGuest({
        target,
        paths,
        process,
        console,
        logger,
        connected,
        panickedAt,
        chooseAio,
      });
      relay.attach(onEvent);
      return guest;
    },

    postMortem: (id) => readPostMortem(pathsOf(id)),

    async list() {
      const directory = instancesDirectory(options.runDirectory);
      try {
        return (await readdir(directory)).filter(isSafeId).toSorted();
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
        throw fsError(error, 'list', directory);
      }
    },

    clean: (id) => remove(pathsOf(id).run),
    kill: (found: FoundGuest, signal) => killFound(found, signal),
    forget: (id) => remove(pathsOf(id).state),
    readLog: (id, source) => readWholeLog(pathsOf(id)[source === 'qemu' ? 'qemuLog' : 'consoleLog']),
  };
}

/** A QEMU that was stopped or died at any moment of it leaves no connection open: QEMU serves one at a time. */
async function connectToFound(
  target: QmpTarget,
  signal: AbortSignal,
  onEvent: (event: QmpEvent) => void,
): Promise<{ connection: QmpConnection; observation: Observation }> {
  const connection = await connectTo(target, { timeoutMs: attachDeadlineMs, signal, onEvent });
  try {
    return { connection, observation: await observe(connection, attachDeadlineMs) };
  } catch (error) {
    await connection.close();
    throw error;
  }
}

async function remove(directory: string): Promise<void> {
  try {
    await rm(directory, { recursive: true, force: true });
  } catch (error) {
    throw fsError(error, 'remove', directory);
  }
}
