/**
 * Starts a guest: admission, identity, control group, QEMU, processors. Every step registers its undo before the next;
 * a start that fails leaves the host as it was, and its record to who runs it. Runs in the lane of the instance, within an operation.
 */
import { type Image, type Instance, type LimitsStatus, WirtError } from '@wirt/api';
import pLimit from 'p-limit';
import type { Accelerator, LaunchPlan } from '../domain/guest.ts';
import { planLaunch, qemuOverheadMib } from '../domain/launch-plan.ts';
import type { WantedLimits } from '../domain/limits/wanted.ts';
import { Undo } from '../domain/undo.ts';
import type { Guest } from '../ports/hypervisor.ts';
import type { Identity } from '../ports/sandbox.ts';
import { requireReady } from './image-use.ts';
import { closeDisks, openDisks } from './instance-disks.ts';
import { inState } from './instance-state.ts';
import { requireLimits } from './limits.ts';
import { holdGroup, limitsOfRun } from './limits-hold.ts';
import type { LiveGuests } from './live-guests.ts';
import { requireDriver, requireNoListener } from './network-cards.ts';
import type { Progress } from './operation-runner.ts';
import type { Shared } from './parts.ts';
import { commit } from './records.ts';
import { imageKey } from './volume-layers.ts';

export interface StartInput {
  readonly paused: boolean;
  /** Automatic restarts in a row that led here; kept in the status. */
  readonly restarts: number;
}

export type BootInstance = (id: string, input: StartInput, progress: Progress) => Promise<void>;

/**
 * Refuses a guest for which there is no room: what is available now counts, and what running guests may yet take, since a
 * guest's memory is taken from the host only as it is touched. Throws `host.insufficient_memory` with the sum.
 */
export function requireHostMemory(
  {
    name,
    spec,
  }: { readonly name: string; readonly spec: Pick<Instance['spec'], 'memoryMib' | 'overcommit'> },
  host: { readonly totalMib: number; readonly availableMib: number },
  promisedMib: number,
): void {
  const { memoryMib, overcommit } = spec;
  const { totalMib } = host;
  const neededMib = memoryMib + qemuOverheadMib;
  const availableMib = Math.max(0, Math.min(host.availableMib, totalMib - promisedMib));
  if (overcommit || neededMib <= availableMib) return;
  const promised = promisedMib > 0 ? `; ${promisedMib} MiB are promised to running guests` : '';
  throw new WirtError(
    'host.insufficient_memory',
    `Instance ${name} needs ${neededMib} MiB (${memoryMib} MiB and ${qemuOverheadMib} MiB for QEMU), and the host has ` +
      `${availableMib} MiB available of ${totalMib} MiB${promised}.`,
    {
      hint: 'Give it less with `--memory`, stop other guests, or take the risk with `--overcommit`.',
      details: { memoryMib, neededMib, availableMib, totalMib, promisedMib },
    },
  );
}

/** As QEMU is started with it. */
export function runOf({ spec }: Pick<Instance, 'spec'>): NonNullable<Instance['status']['run']> {
  const { cpus, maxCpus = cpus, memoryMib, maxMemoryMib = memoryMib } = spec;
  return {
    cpus,
    maxCpus: Math.max(cpus, maxCpus),
    memoryMib,
    maxMemoryMib: Math.max(memoryMib, maxMemoryMib),
  };
}

/** What the guests that run, or are admitted and being started, may take of the host's memory. */
export function promisedMemoryMib(instances: Iterable<Instance>, admitted: ReadonlySet<string>): number {
  let sumMib = 0;
  for (const { id, spec, status } of instances) {
    if (status.process === undefined && !admitted.has(id)) continue;
    // What a guest has not given back yet is not another's.
    const heldMib = Math.max(spec.memoryMib, status.limits?.effective.memoryMib ?? 0);
    if (!spec.overcommit) sumMib += heldMib + qemuOverheadMib;
  }
  return sumMib;
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

/**
 * The image that a start needs: a kernel is booted from it each time; a disk was copied from it once, and may do without.
 */
function imageFor({ images }: Shared, { spec, project }: Instance): Image | undefined {
  if (spec.image === undefined) return undefined;
  const image = images.find(spec.image, project);
  if (image !== undefined && image.spec.format !== 'kernel') return image;
  if (image === undefined && spec.disks.length > 0) return undefined;
  return requireReady(images.require(spec.image, project));
}

/** What can be seen to be in the way before anything is made. Throws `network.not_found`, `network.unsupported`, `network.port_taken`. */
async function requireNetworks(shared: Shared, { spec, project }: Instance): Promise<void> {
  for (const { network, publish } of spec.nics) {
    requireDriver(shared, shared.networks.require(network, project));
    await requireNoListener(shared, publish);
  }
}

interface Launched {
  readonly guest: Guest;
  readonly accelerator: Accelerator;
  readonly limits: LimitsStatus | undefined;
}

interface Admitted {
  readonly image: Image | undefined;
  readonly accelerator: Accelerator;
  readonly wanted: WantedLimits;
}

interface PlanGround {
  readonly image: Image | undefined;
  readonly accelerator: Accelerator;
  readonly identity: Identity;
  readonly wanted: WantedLimits;
  readonly progress: Progress;
}

/** What QEMU is told, with the disks that it is given opened for it. Its cards are plugged. */
async function planOf(
  shared: Shared,
  instance: Instance,
  { image, accelerator, identity, wanted, progress }: PlanGround,
): Promise<LaunchPlan> {
  const { disks, firmware } = await openDisks(shared, instance, image, identity, progress);
  const pathOf = (file: string): string =>
    image === undefined ? file : shared.imageFiles.path(imageKey(image), file);
  const nics = shared.networking.planned(instance, instance.spec.nics);
  const { freePageReporting } = wanted;
  return planLaunch(instance, { image, accelerator, nics, disks, firmware, freePageReporting, pathOf });
}

export function createBoot(shared: Shared, live: LiveGuests): BootInstance {
  const { store, instances, clock, logger, faults, hypervisor, sandbox, resources, networking } = shared;
  const launchSlot = pLimit(shared.launchSlots);
  /** Starts under way, whose records show no process yet. */
  const admitted = new Set<string>();

  async function admit(instance: Instance): Promise<Admitted> {
    const image = imageFor(shared, instance);
    await shared.host.requireQemu(AbortSignal.timeout(30_000));
    const memory = await shared.host.memory();
    requireHostMemory(instance, memory, promisedMemoryMib(instances.after(), admitted));
    // At once, with no await since the check, so that guests started side by side see each other.
    admitted.add(instance.id);
    await requireNetworks(shared, instance);
    const accelerator = await shared.host.accelerator(instance.spec.accelerator);
    requireClock(instance, accelerator);
    return { image, accelerator, wanted: await requireLimits(shared, instance) };
  }

  /** The steps that make things on the host. What a step makes is taken back by name, so that a half-made one goes too. */
  async function launch(
    instance: Instance,
    input: StartInput,
    progress: Progress,
    undo: Undo,
  ): Promise<Launched> {
    const { id } = instance;
    const cleanUp = (): AbortSignal => AbortSignal.timeout(30_000);
    const step = async (name: string): Promise<void> => {
      progress.stage(name);
      await faults.at(`instance.start/${name}`);
      progress.signal.throwIfAborted();
    };
    const { image, accelerator, wanted } = await admit(instance);
    // A uid that still has a process or may open a disk must not become another guest's: the next end of this one, or daemon, tries again.
    let isFree = true;
    const takeBack = (back: () => Promise<void>): void =>
      undo.add(async () => {
        const wasFree = isFree;
        isFree = false;
        await back();
        isFree = wasFree;
      });
    await step('claim-uid');
    undo.add(async () => {
      if (isFree) await sandbox.release(id);
    });
    const identity = await sandbox.claim(id, { kvm: accelerator === 'kvm' });
    await step('control-group');
    takeBack(() => resources.remove(id, cleanUp()));
    const controlGroup = await resources.create(id);
    // Under systemd the group is made with the process.
    if (controlGroup.scopeUnit === undefined) await holdGroup(shared, id, wanted, undefined);
    await step('network');
    takeBack(() => networking.unplug(id));
    await networking.plug(instance, identity);
    takeBack(() => hypervisor.clean(id));
    await step('disks');
    takeBack(() => closeDisks(shared, id));
    const plan = await planOf(shared, instance, { image, accelerator, identity, wanted, progress });
    const guest = await launchSlot(() =>
      hypervisor.launch(plan, { identity, controlGroup }, { signal: progress.signal, onStep: step }),
    );
    takeBack(async () => {
      live.delete(id);
      await guest.kill(cleanUp());
    });
    live.add(guest);
    if (controlGroup.scopeUnit !== undefined) await holdGroup(shared, id, wanted, guest.process);
    const limits = await limitsOfRun(shared, guest, instances.require(id));
    await step('resume');
    if (!input.paused) await guest.resume(progress.signal);
    await step('record');
    return { guest, accelerator, limits };
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
      const { guest, accelerator, limits } = await launch(instance, input, progress, undo);
      const ssh = networking.ssh(instance);
      const run = {
        process: guest.process,
        accelerator,
        agent: guest.state.agent,
        startedAt: clock.now(),
        restarts: input.restarts,
        ...(ssh === undefined ? {} : { ssh }),
        ...(limits === undefined ? {} : { limits }),
        run: runOf(instance),
      };
      const record = inState(clock, instances.require(id), guest.state.processors, run);
      await progress.complete([instances.put({ ...record, status: { ...record.status, exit: undefined } })]);
      undo.release();
    } finally {
      admitted.delete(id);
    }
  };
}
