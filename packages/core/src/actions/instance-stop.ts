/**
 * Ends a guest: by its ACPI power button, by force after a grace period, or at once, as asked; then clears what was made
 * for its run. Each step may be done again after a crash. Runs in the lane of the instance, within an operation.
 */
import { type Instance, type InstanceStop, WirtError } from '@wirt/api';
import { explainExit } from '../domain/exit.ts';
import type { GuestExit } from '../domain/guest.ts';
import type { Guest } from '../ports/hypervisor.ts';
import { giveDevicesBack } from './instance-devices.ts';
import { closeDisks } from './instance-disks.ts';
import { inState, observedState } from './instance-state.ts';
import type { LiveGuests } from './live-guests.ts';
import type { Progress } from './operation-runner.ts';
import type { Shared } from './parts.ts';
import { commit, type Staged } from './records.ts';

/** A guest that is still booting does not hear the power button, so it is pressed again this often. */
const pressAgainMs = 5_000;
const killDeadlineMs = 30_000;

export interface StopInstance {
  /** Ends the guest and gives back the record's last change, which is not committed yet. */
  halt(instance: Instance, input: InstanceStop, progress: Progress): Promise<Staged>;
  /** Lets a graceful stop that is under way go on to force at once. */
  escalate(id: string): void;
  /** Clears what a run leaves on the host. There must be no process any more. */
  tearDown(id: string, action: 'instance.stop' | 'instance.remove' | 'instance.end'): Promise<void>;
}

export function createStop(shared: Shared, live: LiveGuests): StopInstance {
  const { store, instances, clock, faults, logger, hypervisor, sandbox, resources, networking } = shared;
  const graces = new Map<string, AbortController>();

  async function tearDown(id: string, action: string): Promise<void> {
    await faults.at(`${action}/control-group`);
    await resources.remove(id, AbortSignal.timeout(killDeadlineMs));
    await faults.at(`${action}/network`);
    const isUnplugged = await networking.unplug(id).then(
      () => true,
      (error: unknown) => {
        logger.error('instance.not_unplugged', { instance: id, error });
        return false;
      },
    );
    await faults.at(`${action}/clean`);
    await hypervisor.clean(id);
    await faults.at(`${action}/devices`);
    const isGivenBack = await giveDevicesBack(shared, id).then(
      () => true,
      () => false,
    );
    await faults.at(`${action}/close-disks`);
    await closeDisks(shared, id);
    await faults.at(`${action}/release-uid`);
    // A card’s end or a device that is still there may be opened by whoever has the uid: it is kept until there is a new daemon or start.
    if (isUnplugged && isGivenBack) await sandbox.release(id);
  }

  /** Presses the power button until the guest has ended or the grace period is over; undefined when it did not end. */
  async function powerDown(
    guest: Guest,
    graceMs: number,
    hurry: AbortSignal,
  ): Promise<GuestExit | undefined> {
    const over = AbortSignal.any([AbortSignal.timeout(graceMs), hurry]);
    if (guest.state.processors === 'paused') await ignoreErrors(guest.resume(over));
    while (!over.aborted) {
      await ignoreErrors(guest.powerDown(over));
      const pause = new AbortController();
      const again = AbortSignal.any([over, pause.signal]);
      const exit = await Promise.race([guest.exited, ignoreErrors(clock.sleep(pressAgainMs, again))]);
      pause.abort();
      if (exit !== undefined) return exit;
    }
    return undefined;
  }

  async function end(
    instance: Instance,
    guest: Guest,
    input: InstanceStop,
    progress: Progress,
  ): Promise<{ exit: GuestExit; asked: 'stop' | 'force' }> {
    if (input.mode !== 'force') {
      progress.stage('power-button');
      await faults.at('instance.stop/power-button');
      const grace = new AbortController();
      graces.set(guest.id, grace);
      const hurry = AbortSignal.any([grace.signal, progress.signal]);
      const exit = await powerDown(guest, input.graceSeconds * 1000, hurry).finally(() =>
        graces.delete(guest.id),
      );
      if (exit !== undefined) return { exit, asked: 'stop' };
      progress.signal.throwIfAborted();
      if (input.mode === 'acpi' && !grace.signal.aborted)
        throw await stayed(instance, guest, input, progress);
    }
    progress.stage('kill');
    await faults.at('instance.stop/kill');
    await guest.kill(AbortSignal.timeout(killDeadlineMs));
    return { exit: await guest.exited, asked: 'force' };
  }

  /** The guest goes on running, under control as before. */
  async function stayed(
    instance: Instance,
    guest: Guest,
    input: InstanceStop,
    progress: Progress,
  ): Promise<WirtError> {
    const current = instances.get(instance.id) ?? instance;
    await progress.record([instances.put(inState(clock, current, observedState(guest)))]);
    return new WirtError(
      'instance.stop_timeout',
      `Instance ${instance.name} did not power off within ${input.graceSeconds} s.`,
      {
        hint: `Look at \`wirt console ${instance.name}\`, or end it by force: \`wirt stop --force ${instance.name}\`.`,
      },
    );
  }

  async function halt(instance: Instance, input: InstanceStop, progress: Progress): Promise<Staged> {
    const { id } = instance;
    const guest = live.get(id);
    await faults.at('instance.stop/mark');
    if (instance.status.state !== 'stopping')
      await commit(store, [instances.put(inState(clock, instance, 'stopping'))]);
    const ended = guest === undefined ? undefined : await end(instance, guest, input, progress);
    live.delete(id);
    progress.stage('tear-down');
    await tearDown(id, 'instance.stop');
    await faults.at('instance.stop/record');
    const exit = explainExit({
      at: clock.now(),
      exit: ended?.exit ?? (await hypervisor.postMortem(id)),
      oomKills: 0,
      memoryMib: instance.spec.memoryMib,
      asked: ended?.asked ?? 'stop',
    });
    return instances.put(inState(clock, instances.get(id) ?? instance, 'stopped', { exit, restarts: 0 }));
  }

  return { halt, escalate: (id) => graces.get(id)?.abort(), tearDown };
}

async function ignoreErrors(promise: Promise<void>): Promise<undefined> {
  await promise.catch(() => undefined);
  return undefined;
}
