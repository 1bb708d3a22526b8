/**
 * Attaching, changing and detaching network cards, in the lane of their instance. The record says first which card there is, so that its
 * addresses are nobody else’s; then the host gets its end, then the guest. A guest lets go first, and the record and the host follow.
 */
import { type Instance, type Nic, nicCreateSchema, nicUpdateSchema, WirtError } from '@wirt/api';
import { newNic } from '../domain/nic.ts';
import type { Guest } from '../ports/hypervisor.ts';
import { requireCan } from './instance-state.ts';
import { requireLimits } from './limits.ts';
import { followLimits } from './limits-hold.ts';
import type { LiveGuests } from './live-guests.ts';
import { placeCards, requireGroups, requirePorts, samePort } from './network-cards.ts';
import { canonicalFloating, requireReachable } from './network-floating.ts';
import { unsupported } from './network-new.ts';
import { networksLane } from './network-state.ts';
import { isStopping, type Progress, type Work } from './operation-runner.ts';
import type { Shared } from './parts.ts';
import { commit, type Staged } from './records.ts';

/** A guest that is booting takes a while to let go. */
const detachMs = 30_000;
const commandMs = 20_000;

/** Throws `network.no_such_nic`. */
export function requireNic({ name: instance, spec }: Instance, name: string): Nic {
  const nic = spec.nics.find((one) => one.name === name);
  if (nic !== undefined) return nic;
  const names = spec.nics.map((one) => one.name).join(', ');
  throw new WirtError(
    'network.no_such_nic',
    `Instance ${instance} has no network card ${JSON.stringify(name)}.`,
    {
      hint: names === '' ? 'It has none.' : `It has: ${names}.`,
    },
  );
}

/** Which card an operation has put into the record: a later run of it goes on with that. */
function mark(operation: string, nic: string | undefined): Staged {
  const key = `attaching/${operation}`;
  const write =
    nic === undefined ? ({ type: 'delete', key } as const) : ({ type: 'put', key, value: nic } as const);
  return { writes: [write], applied: () => undefined };
}

/** The record with other cards; where SSH is reached may change with them. */
function withNics({ instances, networking }: Shared, id: string, nics: Nic[]): Staged {
  const now = instances.require(id);
  const changed: Instance = { ...now, spec: { ...now.spec, nics } };
  const { ssh: _, ...status } = now.status;
  const ssh = networking.ssh(changed);
  return instances.put({ ...changed, status: ssh === undefined ? status : { ...status, ssh } });
}

export function attachNic(shared: Shared, live: LiveGuests, id: string): Work {
  const { instances, store } = shared;
  return async (progress) => {
    const begun = (await store.get(`attaching/${progress.id}`))?.value;
    if (begun === undefined) requireCan('attach', instances.require(id));
    const guest = live.holding(id);
    const nic =
      instances.require(id).spec.nics.find(({ name }) => name === begun) ??
      (await record(shared, id, progress));
    if (guest === undefined) return progress.complete([mark(progress.id, undefined)]);
    await plugIn(shared, guest, nic, progress);
    await followLimits(shared, live, id);
  };
}

/** Its place, name and addresses, durable. */
async function record(shared: Shared, id: string, progress: Progress): Promise<Nic> {
  const { instances, lanes, store, faults } = shared;
  const input = nicCreateSchema.parse(progress.input);
  return lanes.run(networksLane, async () => {
    const instance = instances.require(id);
    const [nic] = await placeCards(shared, instance, [newNic(instance, instance.spec.nics, input)]);
    if (nic === undefined) throw new WirtError('internal', `${instance.name} got no card.`);
    await requireLimits(shared, {
      ...instance,
      spec: { ...instance.spec, nics: [...instance.spec.nics, nic] },
    });
    await faults.at('instance.attach-nic/choose');
    await commit(store, [withNics(shared, id, [...instance.spec.nics, nic]), mark(progress.id, nic.name)]);
    return nic;
  });
}

async function plugIn(shared: Shared, guest: Guest, nic: Nic, progress: Progress): Promise<void> {
  const { instances, networking, faults, logger, sandbox } = shared;
  const { id } = guest;
  try {
    await faults.at('instance.attach-nic/network');
    // Claimed at its start; claiming again gives the same. It may have had no card until now.
    const identity = await sandbox.claim(id, { kvm: false });
    await (await networking.plug(instances.require(id), identity)).inForce;
    await faults.at('instance.attach-nic/plug');
    const signal = AbortSignal.any([progress.signal, AbortSignal.timeout(commandMs)]);
    const [planned] = networking.planned(instances.require(id), [nic]);
    // Plugged in by an earlier run of this, which died before it could end.
    const there = (await guest.nics.list(signal)).includes(nic.name);
    if (!there && planned !== undefined) await guest.nics.attach(planned, signal);
    await faults.at('instance.attach-nic/record');
    await progress.complete([
      withNics(shared, id, instances.require(id).spec.nics),
      mark(progress.id, undefined),
    ]);
  } catch (error) {
    if (isStopping(progress)) throw error;
    await pullOut(shared, guest, nic, progress).catch((inDoubt: unknown) => {
      logger.warn('nic.attached_in_doubt', { instance: id, nic: nic.name, error: inDoubt });
    });
    throw error;
  }
}

/** A card that could not be plugged in is nobody’s again. One that the guest does not let go of stays its own. */
async function pullOut(shared: Shared, guest: Guest, nic: Nic, progress: Progress): Promise<void> {
  try {
    await guest.nics.detach(nic.name, AbortSignal.timeout(detachMs));
  } catch (error) {
    await progress.record([mark(progress.id, undefined)]);
    throw error;
  }
  await progress.record([...without(shared, guest.id, nic), mark(progress.id, undefined)]);
  await shared.networking.follow(guest.id);
}

/** Its addresses may be another’s at once: what was let pass to it is looked at again. */
function without(shared: Shared, id: string, { name }: Pick<Nic, 'name'>): Staged[] {
  const { instances, networking } = shared;
  const left = instances.require(id).spec.nics.filter((one) => one.name !== name);
  return [withNics(shared, id, left), networking.cut()];
}

export function detachNic(shared: Shared, live: LiveGuests, id: string): Work {
  const { instances, faults, networking, networks } = shared;
  return async (progress) => {
    const name = String(progress.input['nic']);
    const instance = instances.require(id);
    requireCan('detach', instance);
    const nic = instance.spec.nics.find((one) => one.name === name);
    if (nic === undefined) return;
    const guest = live.holding(id);
    await faults.at('instance.detach-nic/unplug');
    const signal = AbortSignal.any([progress.signal, AbortSignal.timeout(detachMs)]);
    await guest?.nics.detach(name, signal);
    await faults.at('instance.detach-nic/record');
    await progress.record(without(shared, id, nic));
    await faults.at('instance.detach-nic/network');
    const network = networks.find(nic.network, instance.project);
    if (guest !== undefined)
      await networking.apply({ networks: network === undefined ? [] : [network.id], instance: id });
    await followLimits(shared, live, id);
  };
}

export function updateNic(shared: Shared, id: string): Work {
  const { instances, lanes, store, faults, networking } = shared;
  return async (progress) => {
    const { nic: name, ...input } = progress.input;
    const update = nicUpdateSchema.parse(input);
    requireCan('update', instances.require(id));
    await lanes.run(networksLane, async () => {
      const instance = instances.require(id);
      const before = requireNic(instance, String(name));
      const after = changedNic(before, update);
      await requireChange(shared, instance, before, after);
      await faults.at('instance.update-nic/record');
      const nics = instance.spec.nics.map((one) => (one.name === before.name ? after : one));
      await commit(store, [
        withNics(shared, id, nics),
        ...(takesAway(before, after) ? [networking.cut()] : []),
      ]);
    });
    await faults.at('instance.update-nic/apply');
    await networking.follow(id);
  };
}

function changedNic(nic: Nic, update: ReturnType<typeof nicUpdateSchema.parse>): Nic {
  const { floating: former, ...kept } = nic;
  const { floating = former ?? null, securityGroups, publish, antiSpoofing } = update;
  return canonicalFloating({
    ...kept,
    securityGroups: securityGroups ?? kept.securityGroups,
    publish: publish ?? kept.publish,
    antiSpoofing: antiSpoofing ?? kept.antiSpoofing,
    ...(floating === null ? {} : { floating }),
  });
}

async function requireChange(shared: Shared, instance: Instance, before: Nic, after: Nic): Promise<void> {
  const { networks, networking, network: driver } = shared;
  await requireGroups(shared, after.securityGroups, instance.project);
  const network = networks.require(after.network, instance.project);
  await requireReachable(shared, instance, network, after, before.floating);
  const added = after.publish.filter((port) => !before.publish.some((one) => samePort(one, port)));
  const isChanged = added.length > 0 || after.publish.length !== before.publish.length;
  if (isChanged && driver.driver === 'user' && networking.isPlugged(instance.id))
    throw unsupported(
      `Without root the published ports of ${instance.name} are given to it at its start, and it runs.`,
      `Stop it first: \`wirt stop ${instance.name}\`.`,
    );
  await requirePorts(shared, instance, { ...after, added });
}

function takesAway(before: Nic, after: Nic): boolean {
  return (
    before.securityGroups.some((group) => !after.securityGroups.includes(group)) ||
    before.publish.some((port) => !after.publish.some((one) => samePort(one, port))) ||
    (before.floating !== undefined && before.floating !== after.floating)
  );
}
