/**
 * The works of operations on instances, by kind: what a request starts and what recovery takes up again is the same
 * code. Every work may run again from its beginning, whatever a crash left of its first run.
 */
import {
  can,
  type Instance,
  type InstanceStop,
  instanceCreateSchema,
  instanceStartSchema,
  instanceStopSchema,
  type Operation,
} from '@wirt/api';
import type { Request } from './actions.ts';
import { attachDisk, changeMedium, detachDisk } from './disk-work.ts';
import { requireGivenBack } from './instance-devices.ts';
import { removeDisks, requireRemovable } from './instance-disks.ts';
import { createReady, type ReadyWatch } from './instance-ready.ts';
import { createSpaceWatch, type SpaceWatch } from './instance-space.ts';
import { type BootInstance, createBoot } from './instance-start.ts';
import { failure, inState, inWordsOf, observedState, requireCan } from './instance-state.ts';
import { createStop, type StopInstance } from './instance-stop.ts';
import { createWatch, type WatchInstance } from './instance-watch.ts';
import { LiveGuests } from './live-guests.ts';
import { attachNic, detachNic, updateNic } from './nic-work.ts';
import { isStopping, type OperationStart, type Work } from './operation-runner.ts';
import type { Shared } from './parts.ts';
import { createPinning, type Pinning } from './pinning.ts';
import { commit, type Staged } from './records.ts';
import { volumesOf } from './volume-layers.ts';
import { makeVolumes } from './volume-make.ts';
import { pruneSources } from './volume-work.ts';
import { laneOfOperation } from './works.ts';

/** What is done to an instance in its own lane; imports and exports have works of their own. */
export type InstanceKind = Exclude<
  Extract<Operation['kind'], `instance.${string}`>,
  'instance.import' | 'instance.export'
>;

export function isLifeKind(kind: Operation['kind']): kind is InstanceKind {
  return kind.startsWith('instance.') && kind !== 'instance.import' && kind !== 'instance.export';
}

export interface InstanceLife {
  readonly live: LiveGuests;
  readonly pinning: Pinning;
  readonly ready: ReadyWatch;
  readonly space: SpaceWatch;
  readonly watch: WatchInstance;
  readonly halt: StopInstance;
  /** Starts an operation of this kind; `staged` is acknowledged with it. */
  start(
    request: Request,
    kind: InstanceKind,
    instance: Instance,
    input: Operation['input'],
    staged?: readonly Staged[],
  ): Promise<Operation>;
  /** The work of an operation, new or left by an earlier daemon. */
  workOf(kind: InstanceKind, id: string): Work;
}

const forced: InstanceStop = { mode: 'force', graceSeconds: 0 };
const neverCancelled = new AbortController().signal;

interface LifeParts {
  readonly shared: Shared;
  readonly live: LiveGuests;
  readonly boot: BootInstance;
  readonly stop: StopInstance;
  readonly watch: WatchInstance;
}

export function createLife(shared: Shared): InstanceLife {
  const { instances } = shared;
  const live = new LiveGuests(shared);
  const pinning = createPinning(shared, live);
  const boot = createBoot(shared, live, pinning);
  const stop = createStop(shared, live);

  const watch = createWatch(shared, stop.tearDown, async (id, restarts) => {
    const instance = instances.get(id);
    // What a person has done since the timer was set is in the record.
    if (instance?.status.restartAt === undefined || !can('start', instance.status.state)) return;
    const request: Request = { caller: 'restart-policy', signal: neverCancelled };
    const operation = await life.start(request, 'instance.start', instance, { paused: false, restarts });
    const ended = await shared.operations.ended(operation.id);
    if (ended.state === 'failed') await shared.lanes.run(id, () => watch.scheduleAfterFailedStart(id));
  });
  live.onEnded = watch.ended;
  const ready = createReady(shared, live);
  const space = createSpaceWatch(shared, live);
  live.onObserved = (guest) => {
    ready.look(guest);
    space.look(guest);
  };

  const parts: LifeParts = { shared, live, boot, stop, watch };
  const works = {
    'instance.create': (id) => create(parts, id),
    'instance.start': (id) => start(parts, id),
    'instance.stop': (id) => halt(parts, id),
    'instance.restart': (id) => restart(parts, id),
    'instance.remove': (id) => remove(parts, id),
    'instance.attach': (id) => attachDisk(shared, live, id),
    'instance.detach': (id) => detachDisk(shared, live, id),
    'instance.medium': (id) => changeMedium(shared, live, id),
    'instance.attach-nic': (id) => attachNic(shared, live, id),
    'instance.detach-nic': (id) => detachNic(shared, live, id),
    'instance.update-nic': (id) => updateNic(shared, id),
  } as const satisfies Record<InstanceKind, (id: string) => Work>;

  const workOf = (kind: InstanceKind, id: string): Work => {
    const work = settled(parts, id, works[kind](id));
    // These wait for a volume, or for who reads snapshots, outside of the instance's lane, and go into it when their turn has come.
    const nested = kind === 'instance.remove' || kind === 'instance.attach';
    return nested ? (progress) => shared.lanes.run(id, () => work(progress)) : work;
  };

  const life: InstanceLife = {
    live,
    pinning,
    ready,
    space,
    watch,
    halt: stop,
    workOf,
    start: (request, kind, { id, name, project }, input, staged = []) => {
      const cancellable = kind === 'instance.create' || kind === 'instance.start';
      const target = { kind: 'instance', id, name } as const;
      const operation: OperationStart = {
        kind,
        project,
        target,
        input,
        cancellable,
        staged,
        lane: laneOfOperation(shared, { kind, target, input }),
        work: workOf(kind, id),
      };
      return shared.operations.start(request, operation);
    },
  };
  return life;
}

/**
 * The work, whose failure leaves no state that only an operation may leave: the instance is then what its guest is, or
 * `crashed` with the reason, so that what failed can be tried again.
 */
function settled({ shared, live }: LifeParts, id: string, work: Work): Work {
  const { instances, clock, logger } = shared;
  return async (progress) => {
    try {
      await work(progress);
    } catch (raw) {
      const instance = instances.get(id);
      // The next daemon goes on from where this one was stopped.
      if (instance === undefined || isStopping(progress)) throw raw;
      const error = inWordsOf(instance, raw);
      const { state } = instance.status;
      if (state === 'starting' || state === 'stopping' || state === 'removing') {
        const guest = live.get(id);
        const record =
          guest === undefined
            ? inState(clock, instance, 'crashed', { exit: failure(error, clock.now()) })
            : inState(clock, instance, observedState(guest), { agent: guest.state.agent });
        await progress.record([instances.put(record)]).catch((storeError: unknown) => {
          logger.error('instance.failure_not_stored', { instance: id, error: storeError });
        });
      }
      throw error;
    }
  };
}

function create({ shared, boot }: LifeParts, id: string): Work {
  return async (progress) => {
    const { start: wanted, startPaused } = instanceCreateSchema
      .pick({ start: true, startPaused: true })
      .parse(progress.input);
    if (wanted) return boot(id, { paused: startPaused, restarts: 0 }, progress);
    const volumes = [...volumesOf(shared, shared.instances.require(id)).values()];
    await makeVolumes(shared, volumes, progress);
  };
}

function start({ shared, boot, watch }: LifeParts, id: string): Work {
  return async (progress) => {
    const instance = shared.instances.require(id);
    // A start that a crash interrupted finds its own mark.
    if (instance.status.state !== 'starting') requireCan('start', instance);
    watch.unschedule(id);
    const { restarts, ...input } = progress.input;
    const { paused } = instanceStartSchema.parse(input);
    await boot(id, { paused, restarts: typeof restarts === 'number' ? restarts : 0 }, progress);
  };
}

function halt({ shared, stop, watch }: LifeParts, id: string): Work {
  return async (progress) => {
    const instance = shared.instances.require(id);
    const { state } = instance.status;
    watch.unschedule(id);
    // What was asked has come about while this waited for its turn.
    if (state === 'stopped' && instance.status.restartAt === undefined) return;
    if (state !== 'stopping') requireCan('stop', instance);
    const stopped =
      state === 'crashed' || state === 'stopped'
        ? shared.instances.put(inState(shared.clock, instance, 'stopped'))
        : await stop.halt(instance, instanceStopSchema.parse(progress.input), progress);
    await progress.complete([stopped]);
  };
}

function restart({ shared, boot, stop, watch }: LifeParts, id: string): Work {
  return async (progress) => {
    const instance = shared.instances.require(id);
    const { state } = instance.status;
    watch.unschedule(id);
    // After a crash it may stand anywhere between the old run and the new one.
    const between =
      state === 'stopping' ||
      state === 'starting' ||
      (progress.recovering && (state === 'stopped' || state === 'crashed'));
    if (!between) requireCan('restart', instance);
    if (shared.instances.require(id).status.process !== undefined) {
      await progress.record([await stop.halt(instance, instanceStopSchema.parse(progress.input), progress)]);
    }
    await boot(id, { paused: false, restarts: 0 }, progress);
  };
}

function remove({ shared, stop, watch }: LifeParts, id: string): Work {
  const { store, instances, clock, faults, hypervisor } = shared;
  const mark = async (): Promise<void> => {
    const instance = instances.require(id);
    await faults.at('instance.remove/mark');
    if (instance.status.state !== 'removing')
      await commit(store, [instances.put(inState(clock, instance, 'removing'))]);
  };
  return async (progress) => {
    const instance = instances.get(id);
    if (instance === undefined) return;
    const force = progress.input['force'] === true;
    if (!['removing', 'stopping'].includes(instance.status.state))
      requireCan(force ? 'remove --force' : 'remove', instance);
    requireRemovable(shared, instance);
    watch.unschedule(id);
    if (instance.status.process !== undefined)
      await progress.record([await stop.halt(instance, forced, progress)]);
    await mark();
    progress.stage('tear-down');
    await stop.tearDown(id, 'instance.remove');
    if (!force) requireGivenBack(instances.require(id));
    await faults.at('instance.remove/forget');
    await hypervisor.forget(id);
    await faults.at('instance.remove/disks');
    const volumes = [...volumesOf(shared, instances.require(id)).values()];
    const disks = await removeDisks(shared, instances.require(id));
    await faults.at('instance.remove/record');
    // Its addresses may be another’s at once.
    const cut = instance.spec.nics.length === 0 ? [] : [shared.networking.cut()];
    await progress.complete([...disks, instances.remove(instances.require(id)), ...cut]);
    pruneSources(shared, volumes);
  };
}
