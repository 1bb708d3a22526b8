/**
 * Brings records and host together after a restart of the daemon: adopts guests that run, explains those that ended
 * meanwhile, finishes or takes up again what was interrupted, and clears what nobody owns. Starts no guest while in doubt.
 */
import { type Instance, type LimitsStatus, type Operation, WirtError } from '@wirt/api';
import pLimit from 'p-limit';
import type { FoundGuest, Guest } from '../ports/hypervisor.ts';
import type { Request } from './actions.ts';
import { holdersOf } from './instance-devices.ts';
import { type InstanceLife, isLifeKind } from './instance-life.ts';
import { diskIothreadsOf } from './instance-machine.ts';
import { runOf } from './instance-start.ts';
import { inState, observedState } from './instance-state.ts';
import { isOutOfRoom } from './late-writes.ts';
import { limitsOfRun } from './limits-hold.ts';
import type { Work } from './operation-runner.ts';
import type { Shared } from './parts.ts';
import { commit } from './records.ts';
import { laneOfOperation, type WorkTable } from './works.ts';

const attachesAtOnce = 16;
const deadlineMs = 30_000;
const bootKey = 'host/boot';

/** Adopts and explains; what was interrupted is for `resumeOperations`. */
export async function recoverInstances(
  shared: Shared,
  life: InstanceLife,
  open: readonly Operation[],
  signal: AbortSignal,
): Promise<void> {
  const found = new Map((await shared.hypervisor.discover()).map((guest) => [guest.id, guest]));
  const busy = new Set(open.map(({ target }) => target.id));
  const slot = pLimit(attachesAtOnce);
  const one = (instance: Instance): Promise<void> =>
    apart(shared, instance.id, () =>
      recoverOne(shared, life, instance, found.get(instance.id), busy, signal),
    );
  await Promise.all([...shared.instances.after()].map((instance) => slot(() => one(instance))));
  await clearOrphans(shared, life, found);
}

/** What goes wrong with one must not keep the daemon from all the others. */
export async function apart(shared: Shared, id: string, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    shared.logger.error('instance.recovery_failed', { instance: id, error });
  }
}

async function recoverOne(
  shared: Shared,
  life: InstanceLife,
  instance: Instance,
  found: FoundGuest | undefined,
  busy: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<void> {
  const { hypervisor } = shared;
  if (found !== undefined) return adopt(shared, life, instance, found, busy, signal);
  switch (instance.status.state) {
    case 'running':
    case 'paused':
    case 'unresponsive':
      return life.watch.ended(instance.id, await hypervisor.postMortem(instance.id));
    case 'crashed':
    case 'stopped':
      return life.watch.schedule(instance);
    case 'starting':
    case 'stopping':
    case 'removing':
      // An operation goes on with it; where its end could not be recorded, there is none.
      if (!busy.has(instance.id))
        await life.watch.ended(instance.id, await hypervisor.postMortem(instance.id));
  }
}

async function adopt(
  shared: Shared,
  life: InstanceLife,
  instance: Instance,
  found: FoundGuest,
  busy: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<void> {
  const guest = await shared.hypervisor.attach(found, signal);
  // In its lane: what the guest is seen to be goes into the record after this, and not against it.
  const { id, status } = instance;
  let first = true;
  const inLane = (): Promise<void> =>
    shared.lanes.run(id, () => {
      if (first) life.live.add(guest);
      // What was under way when there was no room is for its operation.
      const isDone = !first && (life.live.get(id) !== guest || busy.has(id));
      first = false;
      return isDone ? Promise.resolve() : takeOver(shared, id, guest, found, busy);
    });
  shared.logger.info('instance.adopted', { instance: id, pid: found.process.pid, state: status.state });
  await shared.late.begin(inLane, (error) =>
    shared.logger.error('instance.recovery_failed', { instance: id, error }),
  );
}

async function takeOver(
  { store, instances, clock }: Shared,
  id: string,
  guest: Guest,
  found: FoundGuest,
  busy: ReadonlySet<string>,
): Promise<void> {
  const instance = instances.require(id);
  const { status } = instance;
  const underway = ['starting', 'stopping', 'removing'].includes(status.state) && busy.has(instance.id);
  // What an operation was at goes on from where it stood, once its operation is taken up.
  const state = underway ? status.state : observedState(guest);
  const { agent } = guest.state;
  const same =
    status.process?.pid === found.process.pid && status.process.startTicks === found.process.startTicks;
  if (same && status.state === state && status.agent === agent) return;
  const record = underway
    ? { ...instance, status: { ...status, process: found.process } }
    : inState(clock, instance, state, { process: found.process, agent });
  await commit(store, [instances.put(record)]);
}

/** Objects on the host that carry an id without a run: of a record that is gone, or of a step that a crash interrupted. */
async function clearOrphans(
  shared: Shared,
  life: InstanceLife,
  found: ReadonlyMap<string, FoundGuest>,
): Promise<void> {
  const { hypervisor, resources, sandbox, instances, logger } = shared;
  for (const guest of found.values()) {
    if (instances.get(guest.id) !== undefined) continue;
    logger.warn('instance.orphan_killed', { instance: guest.id, pid: guest.process.pid });
    await apart(shared, guest.id, () => hypervisor.kill(guest, AbortSignal.timeout(deadlineMs)));
  }
  const owners = await Promise.all([hypervisor.list(), resources.list(), sandbox.claimed()]);
  // After a boot nothing else is left of a run.
  const lent = holdersOf(shared).map(({ id }) => id);
  for (const id of new Set([...owners.flat(), ...lent])) {
    if (life.live.get(id) !== undefined) continue;
    logger.info('instance.orphan_cleared', { instance: id });
    await apart(shared, id, async () => {
      await life.halt.tearDown(id, 'instance.end');
      if (instances.get(id) === undefined) await hypervisor.forget(id);
    });
  }
}

/**
 * Takes up again what an earlier daemon left, in the order in which it was asked for: an operation whose aim was reached is ended, one whose
 * aim was not begins anew. Those that stood before their end come first, since nothing else of their instance had begun.
 */
export async function resumeOperations(
  shared: Shared,
  life: InstanceLife,
  works: Partial<WorkTable>,
  open: readonly Operation[],
): Promise<void> {
  const { operations, instances, logger } = shared;
  const left: Operation[] = [];
  for (const operation of open) {
    const { kind, target } = operation;
    if (kind === 'image.build') continue;
    await apart(shared, target.id, async () => {
      const instance = instances.get(target.id);
      // An import that starts its machine ends as a start does; before that, it begins anew.
      const reached =
        instance === undefined
          ? isLifeKind(kind)
          : (isLifeKind(kind) || kind === 'instance.import') &&
            // A start that cannot be brought to its end is done anew, and fails there as any start does.
            (await finished(shared, life, operation, instance).catch(() => false));
      if (reached === 'when-stored') endWithRoom(shared, life, operation);
      else if (reached) await operations.settle(operation, { state: 'done', recovery: 'finished' });
      else left.push(operation);
    });
  }
  for (const operation of left) {
    const { kind, target } = operation;
    const work = isLifeKind(kind) ? life.workOf(kind, target.id) : works[kind]?.(target.id);
    if (work === undefined) continue;
    logger.info('operation.taken_up', { operation: operation.id, kind, target: target.id });
    operations.resume(operation, work, laneOfOperation(shared, operation));
  }
}

/** The guest runs, and its operation ends when that can be recorded; nobody waits for it. */
function endWithRoom(shared: Shared, life: InstanceLife, operation: Operation): void {
  const { id } = operation.target;
  const guest = life.live.get(id);
  const end: Work = async (progress) => {
    // It may have ended meanwhile, which is recorded.
    if (guest === undefined || life.live.get(id) !== guest) return;
    const instance = shared.instances.require(id);
    const limits = await limitsOfRun(shared, guest, instance);
    await progress.complete([shared.instances.put(await running(shared, instance, guest, limits))]);
  };
  shared.operations.resume(operation, end, laneOfOperation(shared, operation));
}

async function running(
  shared: Shared,
  instance: Instance,
  guest: Guest,
  limits: LimitsStatus | undefined,
): Promise<Instance> {
  const { host, clock } = shared;
  const accelerator = await host.accelerator(instance.spec.accelerator);
  // By the QEMU that it was started with, a moment ago.
  const diskIothreads = await host.requireQemu(AbortSignal.timeout(30_000)).then(
    (qemu) => diskIothreadsOf(instance.spec, qemu),
    () => 1,
  );
  const ssh = shared.networking.ssh(instance);
  const run = {
    process: guest.process,
    accelerator,
    agent: guest.state.agent,
    startedAt: clock.now(),
    ...(ssh === undefined ? {} : { ssh }),
    ...(limits === undefined ? {} : { limits }),
    run: runOf(instance, diskIothreads),
  };
  return inState(clock, instance, guest.state.processors, run);
}

/**
 * Whether the aim of an operation is reached. An interrupted start whose QEMU answers is brought to its end here; one whose QEMU
 * does not is ended, so that the start can be done anew with no doubt left.
 */
async function finished(
  shared: Shared,
  life: InstanceLife,
  operation: Operation,
  instance: Instance,
): Promise<boolean | 'when-stored'> {
  const { store, instances, lanes } = shared;
  const guest = life.live.get(instance.id);
  if (instance.status.state !== 'starting' || guest === undefined) return false;
  const paused = operation.input['paused'] === true || operation.input['startPaused'] === true;
  return lanes.run(instance.id, async () => {
    const signal = AbortSignal.timeout(deadlineMs);
    try {
      // Not waited for: every other guest would wait with it.
      if (!guest.state.responsive)
        throw new WirtError('instance.unresponsive', `QEMU of ${instance.name} is silent.`);
      const limits = await limitsOfRun(shared, guest, instances.require(instance.id));
      // Whether its cards were filtered when the daemon before died, nobody knows.
      await shared.networking.follow(instance.id);
      if (!paused) await guest.resume(signal);
      const record = await running(shared, instances.require(instance.id), guest, limits);
      await commit(store, [instances.put(record)]);
      return true;
    } catch (error) {
      // A full store is no reason to end a guest.
      if (isOutOfRoom(error)) return 'when-stored';
      life.live.delete(instance.id);
      await guest.kill(signal);
      await life.halt.tearDown(instance.id, 'instance.end');
      const current = instances.require(instance.id);
      await commit(store, [instances.put({ ...current, status: { ...current.status, process: undefined } })]);
      return false;
    }
  });
}

/**
 * Once for every boot of the host, so that a guest stopped by a person stays stopped when only the daemon restarts. The boot is
 * noted when all are under way: a daemon that dies before starts the rest again.
 */
export async function autostart(
  shared: Shared,
  life: InstanceLife,
  open: readonly Operation[],
): Promise<void> {
  const { store, host, instances, logger } = shared;
  const busy = new Set(open.map(({ target }) => target.id));
  const boot = await host.bootId();
  if ((await store.get(bootKey))?.value === boot) return;
  const request: Request = { caller: 'autostart', signal: AbortSignal.timeout(deadlineMs) };
  for (const instance of [...instances.after()]) {
    const { state } = instance.status;
    if (!instance.spec.autostart || busy.has(instance.id) || (state !== 'stopped' && state !== 'crashed'))
      continue;
    logger.info('instance.autostart', { instance: instance.id });
    await apart(shared, instance.id, () =>
      life.start(request, 'instance.start', instance, { paused: false }),
    );
  }
  await apart(shared, 'autostart', () => store.write([{ type: 'put', key: bootKey, value: boot }]));
}
