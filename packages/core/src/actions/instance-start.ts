/**
 * Starts a guest: admission, identity, control group, QEMU, processors. Every step registers its undo before the next;
 * a start that fails leaves the host as it was. Runs in the lane of the instance, within an operation.
 */
import { causeText, type Image, type Instance, type InstanceExit, WirtError } from '@wirt/api';
import pLimit from 'p-limit';
import type { Accelerator } from '../domain/guest.ts';
import { planLaunch, qemuOverheadMib } from '../domain/launch-plan.ts';
import { Undo } from '../domain/undo.ts';
import type { Guest } from '../ports/hypervisor.ts';
import { inState, inWordsOf } from './instance-state.ts';
import type { LiveGuests } from './live-guests.ts';
import type { Progress } from './operation-runner.ts';
import type { Shared } from './parts.ts';
import { commit } from './records.ts';

export interface StartInput {
  readonly paused: boolean;
  /** Automatic restarts in a row that led here; kept in the status. */
  readonly restarts: number;
}

export type BootInstance = (id: string, input: StartInput, progress: Progress) => Promise<void>;

/** Throws `host.insufficient_memory` when no amount of stopping other things would make room for the guest. */
export function requireHostMemory(
  instance: Pick<Instance, 'name' | 'spec'>,
  totalMib: number,
  availableMib: number,
): void {
  const { memoryMib, overcommit } = instance.spec;
  const neededMib = memoryMib + qemuOverheadMib;
  if (overcommit || neededMib <= availableMib) return;
  throw new WirtError(
    'host.insufficient_memory',
    `Instance ${instance.name} needs ${neededMib} MiB (${memoryMib} MiB and ${qemuOverheadMib} MiB for QEMU), and the host has ` +
      `${availableMib} MiB available of ${totalMib} MiB.`,
    {
      hint: 'Give it less with `--memory`, stop other guests, or take the risk with `--overcommit`.',
      details: { memoryMib, neededMib, availableMib, totalMib },
    },
  );
}

/**
 * A microvm has neither HPET nor ACPI timer. Linux then calibrates its TSC by the PIT, which under TCG fails whenever the
 * host is busy, and the guest hangs at boot; under KVM it has kvmclock.
 */
function requireClock({ name, spec }: Instance, accelerator: Accelerator): void {
  if (spec.machine !== 'microvm' || accelerator === 'kvm') return;
  throw new WirtError('host.kvm_unusable', `Instance ${name} is a microvm, which needs KVM for its clock.`, {
    hint: 'Create it with `--machine q35`; see `wirt host check` for what KVM lacks here.',
  });
}

export function createBoot(shared: Shared, live: LiveGuests): BootInstance {
  const { store, instances, clock, logger, faults, hypervisor, sandbox, resources } = shared;
  const launchSlot = pLimit(shared.launchSlots);

  async function admit(instance: Instance): Promise<{ image: Image; accelerator: Accelerator }> {
    const image = shared.images.require(instance.spec.image, instance.project);
    if (image.status.state !== 'ready') {
      throw new WirtError(
        'image.not_found',
        `Image ${image.name} is still being built, so ${instance.name} cannot start.`,
        {
          hint: 'Wait for it: `wirt operation ls`.',
        },
      );
    }
    await shared.host.requireQemu(AbortSignal.timeout(30_000));
    const { totalMib, availableMib } = await shared.host.memory();
    requireHostMemory(instance, totalMib, availableMib);
    const accelerator = await shared.host.accelerator(instance.spec.accelerator);
    requireClock(instance, accelerator);
    return { image, accelerator };
  }

  /** The steps that make things on the host. What a step makes is taken back by name, so that a half-made one goes too. */
  async function launch(
    instance: Instance,
    input: StartInput,
    progress: Progress,
    undo: Undo,
  ): Promise<[Guest, Accelerator]> {
    const { id } = instance;
    const cleanUp = (): AbortSignal => AbortSignal.timeout(30_000);
    const step = async (name: string): Promise<void> => {
      progress.stage(name);
      await faults.at(`instance.start/${name}`);
      progress.signal.throwIfAborted();
    };
    const { image, accelerator } = await admit(instance);
    await step('claim-uid');
    undo.add(() => sandbox.release(id));
    const identity = await sandbox.claim(id, { kvm: accelerator === 'kvm' });
    await step('control-group');
    undo.add(() => resources.remove(id, cleanUp()));
    const controlGroup = await resources.create(id);
    undo.add(() => hypervisor.clean(id));
    const plan = planLaunch(instance, image, accelerator, (file) => shared.imageFiles.path(image.id, file));
    const guest = await launchSlot(() =>
      hypervisor.launch(plan, { identity, controlGroup }, { signal: progress.signal, onStep: step }),
    );
    undo.add(async () => {
      live.delete(id);
      await guest.kill(cleanUp());
    });
    live.add(guest);
    await step('resume');
    if (!input.paused) await guest.resume(progress.signal);
    await step('record');
    return [guest, accelerator];
  }

  /** A start that failed shows as `crashed`, with the reason where people look for it. */
  async function recordFailure(id: string, error: unknown, input: StartInput): Promise<void> {
    const instance = instances.get(id);
    if (instance === undefined) return;
    const exit = failedStart(error, clock.now());
    await commit(store, [
      instances.put(inState(clock, instance, 'crashed', { exit, restarts: input.restarts })),
    ]);
  }

  return async function boot(id, input, progress) {
    await using undo = new Undo((error) => logger.error('instance.undo_failed', { instance: id, error }));
    try {
      let instance = instances.require(id);
      if (instance.status.state !== 'starting') {
        await commit(store, [
          instances.put(inState(clock, instance, 'starting', { restarts: input.restarts })),
        ]);
        instance = instances.require(id);
      }
      const [guest, accelerator] = await launch(instance, input, progress, undo);
      const run = {
        process: guest.process,
        accelerator,
        agent: guest.state.agent,
        startedAt: clock.now(),
        restarts: input.restarts,
      };
      const record = inState(clock, instances.require(id), guest.state.processors, run);
      await progress.complete([instances.put({ ...record, status: { ...record.status, exit: undefined } })]);
      undo.release();
    } catch (raw) {
      await undo.run();
      const error = inWordsOf(shared.instances.get(id) ?? { id, name: id }, raw);
      await recordFailure(id, error, input);
      throw error;
    }
  };
}

function failedStart(error: unknown, at: string): InstanceExit {
  const message = error instanceof Error ? error.message : String(error);
  const cause = causeText(error);
  return { at, reason: 'error', message: cause === undefined ? message : `${message} ${cause}` };
}
