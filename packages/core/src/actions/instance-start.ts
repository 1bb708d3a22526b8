/**
 * Starts a guest: admission, identity, control group, QEMU, processors. Every step registers its undo before the next;
 * a start that fails leaves the host as it was, and its record to who runs it. Runs in the lane of the instance, within an operation.
 */
import { type Image, type Instance, type LimitsStatus, WirtError } from '@wirt/api';
import pLimit from 'p-limit';
import { type Accelerator, type LaunchPlan, memoryMibOf, type PlannedDevice } from '../domain/guest.ts';
import { planLaunch } from '../domain/launch-plan.ts';
import type { WantedLimits } from '../domain/limits/wanted.ts';
import { Undo } from '../domain/undo.ts';
import type { Guest } from '../ports/hypervisor.ts';
import type { Identity } from '../ports/sandbox.ts';
import { admit as admitGuest } from './admission.ts';
import { placeInPages, reservePages } from './huge-pages.ts';
import { requireReady } from './image-use.ts';
import { giveDevicesBack, hasDevices, lendDevices, requireDevices } from './instance-devices.ts';
import { closeDisks, openDisks } from './instance-disks.ts';
import { diskIothreadsOf, requireProcessors } from './instance-machine.ts';
import { inState } from './instance-state.ts';
import { requireLimits } from './limits.ts';
import { holdGroup, limitsOfRun } from './limits-hold.ts';
import type { LiveGuests } from './live-guests.ts';
import { requireDriver, requireNoListener } from './network-cards.ts';
import type { Progress } from './operation-runner.ts';
import { isMergeable, mergePages } from './page-merging.ts';
import type { Shared } from './parts.ts';
import type { Pinning } from './pinning.ts';
import type { Placed } from './placing.ts';
import { poolsToRun } from './pool-promise.ts';
import { commit } from './records.ts';
import { imageKey } from './volume-layers.ts';
import { createVsockCids, requireVsock } from './vsock.ts';

export interface StartInput {
  readonly paused: boolean;
  /** Automatic restarts in a row that led here; kept in the status. */
  readonly restarts: number;
}

export type BootInstance = (id: string, input: StartInput, progress: Progress) => Promise<void>;

/** As QEMU is started with it. */
export function runOf(
  { spec, status }: Pick<Instance, 'spec'> & { readonly status?: Instance['status'] },
  diskIothreads: number,
): NonNullable<Instance['status']['run']> {
  const { cpus, maxCpus = cpus, maxMemoryMib = 0 } = spec;
  // In whole pages, where they are huge.
  const memoryMib =
    status?.placement === undefined ? spec.memoryMib : memoryMibOf(status.placement.guestNodes);
  return {
    cpus,
    maxCpus: Math.max(cpus, maxCpus),
    memoryMib,
    maxMemoryMib: Math.max(memoryMib, maxMemoryMib),
    ...(diskIothreads > 1 ? { diskIothreads } : {}),
    ...(spec.vsock === true ? { vsock: true } : {}),
    ...(isMergeable({ spec, status }) ? { mergeable: true } : {}),
    // Nothing asked for is known as well: absent means that nobody kept it.
    tuning: spec.tuning ?? {},
  };
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

/** What a guest is admitted with of the host's own memory: of huge pages those that are yet to be made of it. */
function ownMemoryOf({ spec }: Instance, placed: Placed | undefined): { ownMib: number; pagesMib: number } {
  const { pageSizeKib, reserved = [] } = placed?.record ?? {};
  if (pageSizeKib === undefined) return { ownMib: spec.memoryMib, pagesMib: 0 };
  const sumMib = reserved.reduce((sum, { count, sizeKib }) => sum + Math.ceil((count * sizeKib) / 1024), 0);
  return { ownMib: 0, pagesMib: sumMib };
}

interface Launched {
  readonly guest: Guest;
  readonly accelerator: Accelerator;
  readonly limits: LimitsStatus | undefined;
  readonly diskIothreads: number;
}

interface Admitted {
  readonly image: Image | undefined;
  readonly accelerator: Accelerator;
  readonly wanted: WantedLimits;
  readonly diskIothreads: number;
  readonly placed: Placed | undefined;
}

interface PlanGround extends Admitted {
  readonly devices: readonly PlannedDevice[];
  readonly identity: Identity;
  readonly progress: Progress;
}

/** What QEMU is told, with the disks that it is given opened for it. Its cards are plugged. */
async function planOf(
  shared: Shared,
  instance: Instance,
  { image, accelerator, devices, diskIothreads, identity, wanted, placed, progress }: PlanGround,
): Promise<LaunchPlan> {
  const { disks, firmware } = await openDisks(shared, instance, image, identity, progress);
  const pathOf = (file: string): string =>
    image === undefined ? file : shared.imageFiles.path(imageKey(image), file);
  const nics = shared.networking.planned(instance, instance.spec.nics);
  const { freePageReporting } = wanted;
  const placement = placed?.planned;
  const mergeable = isMergeable(shared.instances.require(instance.id));
  if (mergeable) await mergePages(shared);
  return planLaunch(instance, {
    image,
    accelerator,
    nics,
    disks,
    devices,
    ...(diskIothreads > 1 ? { diskIothreads } : {}),
    firmware,
    freePageReporting,
    placement,
    mergeable,
    pathOf,
  });
}

/** Where the guest goes after all. Noted before the host is changed for it, so that a daemon that dies in between leaves it to the next to undo. */
async function makePlace(
  shared: Shared,
  pinning: Pinning,
  instance: Instance,
  planned: Placed,
): Promise<Placed> {
  const { store, instances, faults } = shared;
  const current = instances.require(instance.id);
  await commit(store, [
    instances.put({ ...current, status: { ...current.status, placement: planned.record } }),
  ]);
  await faults.at('instance.start/place');
  const placed = await reservePages(shared, instance, planned);
  if (placed.record.dedicated !== undefined) await pinning.settle();
  return placed;
}

interface Equipped {
  readonly plan: LaunchPlan;
  readonly cards: { readonly inForce: Promise<void> };
}

type TakeBack = (back: () => Promise<void>) => void;

/**
 * A uid that still has a process or may open a disk must not become another guest's: it is released last, and only where all else was
 * taken back; the next end of this guest, or daemon, tries again.
 */
function releasingLast(undo: Undo, release: () => Promise<void>): TakeBack {
  let isFree = true;
  undo.add(async () => {
    if (isFree) await release();
  });
  return (back) =>
    undo.add(async () => {
      const wasFree = isFree;
      isFree = false;
      await back();
      isFree = wasFree;
    });
}

/** What is in the way of a start is told before anything is made; what it needs of the host is promised to it. */
async function admit(shared: Shared, instance: Instance): Promise<Admitted> {
  const image = imageFor(shared, instance);
  const qemu = await shared.host.requireQemu(AbortSignal.timeout(30_000));
  const accelerator = await shared.host.accelerator(instance.spec.accelerator);
  const placed = await placeInPages(shared, instance);
  const topology = placed?.planned.topology;
  await requireProcessors(shared, instance, { accelerator, qemu, topology });
  const requirePools = await poolsToRun(shared, instance);
  const memory = await shared.host.memory();
  admitGuest(shared, instance, { memory, ...ownMemoryOf(instance, placed) });
  requirePools();
  await requireNetworks(shared, instance);
  requireClock(instance, accelerator);
  await requireVsock(shared, instance, { qemu });
  await requireDevices(shared, instance, topology);
  const diskIothreads = diskIothreadsOf(instance.spec, qemu);
  return { image, accelerator, placed, diskIothreads, wanted: await requireLimits(shared, instance) };
}

export function createBoot(shared: Shared, live: LiveGuests, pinning: Pinning): BootInstance {
  const { store, instances, clock, logger, faults, hypervisor, sandbox, resources, networking } = shared;
  const launchSlot = pLimit(shared.launchSlots);
  const cids = createVsockCids(shared);

  /** What QEMU is told, with all that it needs of the host made for it: cards, devices, disks. */
  async function equip(
    instance: Instance,
    ground: Omit<PlanGround, 'devices'>,
    { step, takeBack }: { step(name: string): Promise<void>; takeBack: TakeBack },
  ): Promise<Equipped> {
    const { id } = instance;
    const { identity, progress } = ground;
    await step('network');
    takeBack(() => networking.unplug(id));
    const cards = await networking.plug(instance, identity);
    takeBack(() => hypervisor.clean(id));
    if (hasDevices(instance)) await step('devices');
    takeBack(() => giveDevicesBack(shared, id));
    const topology = ground.placed?.planned.topology;
    const devices = await lendDevices(shared, id, identity, { topology, signal: progress.signal });
    await step('disks');
    takeBack(() => closeDisks(shared, id));
    return { plan: await planOf(shared, instance, { ...ground, devices }), cards };
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
    const admitted = await admit(shared, instance);
    const { accelerator, wanted } = admitted;
    const placed = admitted.placed && (await makePlace(shared, pinning, instance, admitted.placed));
    // Its pages have gone from what the host has.
    if (placed?.record.pageSizeKib !== undefined)
      shared.admitted.set(id, { instance, ownMib: 0, pagesMib: 0 });
    await step('claim-uid');
    const takeBack = releasingLast(undo, () => sandbox.release(id));
    const identity = await sandbox.claim(id, { kvm: accelerator === 'kvm' });
    await step('control-group');
    takeBack(() => resources.remove(id, cleanUp()));
    const controlGroup = await resources.create(id);
    // Under systemd the group is made with the process.
    if (controlGroup.scopeUnit === undefined) await holdGroup(shared, id, wanted, undefined);
    const { plan, cards } = await equip(
      instance,
      { ...admitted, placed, identity, progress },
      { step, takeBack },
    );
    const guest = await cids.launch(instance, plan, (given) =>
      launchSlot(() =>
        hypervisor.launch(given, { identity, controlGroup }, { signal: progress.signal, onStep: step }),
      ),
    );
    takeBack(async () => {
      live.delete(id);
      await guest.kill(cleanUp());
    });
    live.add(guest);
    if (controlGroup.scopeUnit !== undefined) await holdGroup(shared, id, wanted, guest.process);
    await pinning.join(guest, progress.signal);
    const limits = await limitsOfRun(shared, guest, instances.require(id));
    // QEMU has its own start behind it by then, and a guest that does not run sends nothing.
    await cards.inForce;
    await step('resume');
    if (!input.paused) await guest.resume(progress.signal);
    await step('record');
    return { guest, accelerator, limits, diskIothreads: admitted.diskIothreads };
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
      const { guest, accelerator, limits, diskIothreads } = await launch(instance, input, progress, undo);
      const ssh = networking.ssh(instance);
      const run = {
        process: guest.process,
        accelerator,
        agent: guest.state.agent,
        startedAt: clock.now(),
        restarts: input.restarts,
        ...(ssh === undefined ? {} : { ssh }),
        ...(limits === undefined ? {} : { limits }),
        run: runOf(instances.require(id), diskIothreads),
      };
      const record = inState(clock, instances.require(id), guest.state.processors, run);
      await progress.complete([instances.put({ ...record, status: { ...record.status, exit: undefined } })]);
      undo.release();
    } finally {
      shared.admitted.delete(id);
      shared.placing.ended(id);
    }
  };
}
