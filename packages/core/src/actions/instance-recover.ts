/**
 * Brings records and host together after a restart of the daemon: adopts guests that run, explains those that ended
 * meanwhile, finishes or takes up again what was interrupted, and clears what nobody owns. Starts no guest while in doubt.
 */
import type { Instance, Operation } from '@wirt/api';
import pLimit from 'p-limit';
import type { FoundGuest } from '../ports/hypervisor.ts';
import type { Request } from './actions.ts';
import type { InstanceLife } from './instance-life.ts';
import { inState, observedState } from './instance-state.ts';
import type { Shared } from './parts.ts';
import { commit } from './records.ts';

const attachesAtOnce = 16;
const deadlineMs = 30_000;
const bootKey = 'host/boot';

export async function recoverInstances(
  shared: Shared,
  life: InstanceLife,
  open: readonly Operation[],
  signal: AbortSignal,
): Promise<void> {
  const found = new Map((await shared.hypervisor.discover()).map((guest) => [guest.id, guest]));
  const slot = pLimit(attachesAtOnce);
  const all = [...shared.instances.after()];
  await Promise.all(
    all.map((instance) => slot(() => recoverOne(shared, life, instance, found.get(instance.id), signal))),
  );
  await clearOrphans(shared, life, found);
  for (const operation of open) await takeUp(shared, life, operation);
  await autostart(shared, life);
}

async function recoverOne(
  shared: Shared,
  life: InstanceLife,
  instance: Instance,
  found: FoundGuest | undefined,
  signal: AbortSignal,
): Promise<void> {
  const { store, instances, clock, hypervisor, logger } = shared;
  if (found !== undefined) {
    const guest = await hypervisor.attach(found, signal);
    life.live.add(guest);
    const { state } = instance.status;
    logger.info('instance.adopted', { instance: instance.id, pid: found.process.pid, state });
    // What an operation was at goes on from where it stood, once its operation is taken up.
    if (state === 'starting' || state === 'stopping' || state === 'removing') {
      await commit(store, [
        instances.put({ ...instance, status: { ...instance.status, process: found.process } }),
      ]);
      return;
    }
    const observed = { process: found.process, agent: guest.state.agent };
    await commit(store, [instances.put(inState(clock, instance, observedState(guest), observed))]);
    return;
  }
  switch (instance.status.state) {
    case 'running':
    case 'paused':
    case 'unresponsive':
      await life.watch.ended(instance.id, await hypervisor.postMortem(instance.id));
      return;
    case 'crashed':
    case 'stopped':
      life.watch.schedule(instance);
      return;
    case 'starting':
    case 'stopping':
    case 'removing':
      return;
  }
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
    await hypervisor.kill(guest, AbortSignal.timeout(deadlineMs));
  }
  const owners = await Promise.all([hypervisor.list(), resources.list(), sandbox.claimed()]);
  for (const id of new Set(owners.flat())) {
    if (life.live.get(id) !== undefined) continue;
    logger.info('instance.orphan_cleared', { instance: id });
    await life.halt.tearDown(id, 'instance.end');
    if (instances.get(id) === undefined) await hypervisor.forget(id);
  }
}

/** Finishes an operation whose aim was reached, takes up again one that was not, fails one that cannot be. */
async function takeUp(shared: Shared, life: InstanceLife, operation: Operation): Promise<void> {
  const { operations, instances, logger } = shared;
  const { kind, target } = operation;
  if (kind === 'image.build') return;
  const instance = instances.get(target.id);
  logger.info('operation.taken_up', { operation: operation.id, kind, target: target.id });
  if (instance === undefined || (await finished(shared, life, operation, instance))) {
    await operations.settle(operation, { state: 'done', recovery: 'finished' });
    return;
  }
  operations.resume(operation, life.workOf(kind, target.id));
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
): Promise<boolean> {
  const { store, instances, clock, lanes } = shared;
  const guest = life.live.get(instance.id);
  if (instance.status.state !== 'starting' || guest === undefined) return false;
  const paused = operation.input['paused'] === true || operation.input['startPaused'] === true;
  return lanes.run(instance.id, async () => {
    const signal = AbortSignal.timeout(deadlineMs);
    if (!guest.state.responsive) {
      life.live.delete(instance.id);
      await guest.kill(signal);
      await life.halt.tearDown(instance.id, 'instance.end');
      const current = instances.require(instance.id);
      await commit(store, [instances.put({ ...current, status: { ...current.status, process: undefined } })]);
      return false;
    }
    if (!paused) await guest.resume(signal);
    const accelerator = await shared.host.accelerator(instance.spec.accelerator);
    const run = { process: guest.process, accelerator, agent: guest.state.agent, startedAt: clock.now() };
    await commit(store, [
      instances.put(inState(clock, instances.require(instance.id), guest.state.processors, run)),
    ]);
    return true;
  });
}

/** Once for every boot of the host, so that a guest stopped by a person stays stopped when only the daemon restarts. */
async function autostart(shared: Shared, life: InstanceLife): Promise<void> {
  const { store, host, instances, logger } = shared;
  const boot = await host.bootId();
  if ((await store.get(bootKey))?.value === boot) return;
  await store.write([{ type: 'put', key: bootKey, value: boot }]);
  const request: Request = { caller: 'autostart', signal: AbortSignal.timeout(deadlineMs) };
  for (const instance of [...instances.after()]) {
    const { state } = instance.status;
    if (!instance.spec.autostart || (state !== 'stopped' && state !== 'crashed')) continue;
    logger.info('instance.autostart', { instance: instance.id });
    await life.start(request, 'instance.start', instance, { paused: false });
  }
}
