/**
 * The one place that says what the host's networking is to be, and tells the driver. What is asked for while the driver is at it is done
 * with the next turn, by one for all. What fails is shown at the networks that it concerns, and tried again.
 */
import { causeText, type Instance, type Network, type Nic, type PublishedPort, WirtError } from '@wirt/api';
import pLimit from 'p-limit';
import type { PlannedNic } from '../domain/guest.ts';
import { loopbackOf, loopbackSshPort } from '../domain/launch-plan.ts';
import { type PluggedGuest, planNetworks } from '../domain/network/plan.ts';
import { emptyNetworkPlan, type NetworkPlan } from '../domain/network-plan.ts';
import { plannedNic } from '../domain/nic.ts';
import type { FoundGuest } from '../ports/hypervisor.ts';
import type { Repaired } from '../ports/network.ts';
import type { Identity } from '../ports/sandbox.ts';
import type { Concerned, Networking, Shared } from './parts.ts';
import { commit, type Staged } from './records.ts';

/** Records of networks and groups, and which addresses and ports cards have, change in this lane. Who is in it waits for no other lane. */
export const networksLane = 'networks';

const applyMs = 60_000;
const closeMs = 5_000;
const firstPauseMs = 1_000;
const longestPauseMs = 60_000;
const cutsKey = 'host/network-cuts';
const claimsAtOnce = 16;
/** Those committed at the same moment may be stored in another order: a new daemon counts on from above them. */
const cutsAtOnce = 16;

type Needs = Pick<
  Shared,
  | 'network'
  | 'networks'
  | 'groups'
  | 'instances'
  | 'policies'
  | 'images'
  | 'store'
  | 'late'
  | 'lanes'
  | 'clock'
  | 'logger'
  | 'hypervisor'
  | 'sandbox'
>;

/** One pass over the host, for all who asked for it by then. */
interface Turn {
  /** All ports are there; rejects never, for it may be that there will be none. */
  readonly ports: Promise<void>;
  readonly inForce: Promise<void>;
}

interface Plugged extends PluggedGuest {
  readonly identity: Pick<Identity, 'uid' | 'own'>;
}

export class NetworkState implements Networking {
  readonly lent = new Map<string, string>();
  readonly #needs: Needs;
  /** Guests that have a process or are being started. */
  readonly #plugged = new Map<string, Plugged>();
  readonly #over = new AbortController();
  /** How often something was taken away. */
  #cuts = 0;
  #lastCut = 0;
  #under: Promise<void> = Promise.resolve();
  #next: Turn | undefined;
  #pauseMs = firstPauseMs;
  #isWaiting = false;
  #unsubscribe: () => void = () => undefined;

  constructor(needs: Needs) {
    this.#needs = needs;
  }

  /** Reads what the store says. Call once, before anything else. */
  async load(): Promise<void> {
    const stored = (await this.#needs.store.get(cutsKey))?.value;
    this.#cuts = typeof stored === 'number' ? stored + cutsAtOnce : 0;
    this.#lastCut = this.#cuts;
  }

  planOfAll(): NetworkPlan {
    const nobody: PluggedGuest = { owner: { uid: 0, gid: 0 }, forwards: [] };
    return this.#planFor((id) => this.#plugged.get(id) ?? nobody);
  }

  #planFor(pluggedOf: (id: string) => PluggedGuest | undefined): NetworkPlan {
    const { networks, groups, instances, policies } = this.#needs;
    const records = {
      networks: networks.after(),
      groups: groups.after(),
      instances: instances.after(),
      policies: policies.after(),
    };
    return planNetworks(records, pluggedOf, this.#cuts);
  }

  isPlugged(instance: string): boolean {
    return this.#plugged.has(instance);
  }

  cut(): Staged {
    this.#lastCut += 1;
    const value = this.#lastCut;
    return {
      writes: [{ type: 'put', key: cutsKey, value }],
      applied: () => {
        // A later one may have been in force before this was: never the same number for both.
        if (value <= this.#cuts) this.#lastCut += 1;
        this.#cuts = value > this.#cuts ? value : this.#lastCut;
      },
    };
  }

  async apply(concerned: Concerned = {}): Promise<void> {
    await heardBy(this.#ask().inForce, concerned);
  }

  #ask(): Turn {
    if (this.#next !== undefined) return this.#next;
    const { promise: ports, resolve } = Promise.withResolvers<void>();
    const inForce = this.#under.then(() => {
      this.#next = undefined;
      return this.#turn(resolve);
    });
    // Who asked hears of its failure; the next turn only waits for its end.
    this.#under = inForce.catch(() => undefined);
    this.#next = { ports, inForce };
    return this.#next;
  }

  async #turn(onPorts: () => void): Promise<void> {
    const plan = this.#planFor((id) => this.#plugged.get(id));
    try {
      const signal = AbortSignal.any([this.#over.signal, AbortSignal.timeout(applyMs)]);
      await this.#needs.network.apply(plan, signal, onPorts);
    } catch (cause) {
      const error = failed(cause);
      this.#show(plan, error);
      this.#tryAgain();
      throw error;
    }
    this.#pauseMs = firstPauseMs;
    this.#show(plan, undefined);
  }

  /** Nobody waits for it: what the records say is to come about. */
  #tryAgain(): void {
    const { clock, logger } = this.#needs;
    if (this.#isWaiting || this.#over.signal.aborted) return;
    this.#isWaiting = true;
    const pauseMs = this.#pauseMs;
    this.#pauseMs = Math.min(2 * pauseMs, longestPauseMs);
    clock
      .sleep(pauseMs, this.#over.signal)
      .then(() => {
        this.#isWaiting = false;
        return this.apply();
      })
      .catch((error: unknown) => {
        if (!this.#over.signal.aborted) logger.warn('network.not_applied', { error });
      });
  }

  /** Puts it into the records, where it is not there yet. Returns at once. */
  #show(plan: NetworkPlan, error: WirtError | undefined): void {
    for (const { id } of plan.networks) {
      const message = error !== undefined && isOf(error, id) ? sentence(error) : undefined;
      const status = this.#needs.networks.get(id)?.status;
      const state = message === undefined ? 'ready' : 'failed';
      if (status === undefined || (status.state === state && status.message === message)) continue;
      this.#record(id, ({ message: _, ...kept }) => ({
        ...kept,
        state,
        ...(message === undefined ? {} : { message }),
      }));
    }
  }

  #record(id: string, change: (status: Network['status']) => Network['status']): void {
    const { late, lanes, networks, store, logger } = this.#needs;
    const inLane = (): Promise<void> =>
      lanes.run(networksLane, async () => {
        const network = networks.get(id);
        if (network !== undefined)
          await commit(store, [networks.put({ ...network, status: change(network.status) })]);
      });
    late.insist(inLane).catch((error: unknown) => logger.error('network.status_not_stored', { id, error }));
  }

  #repaired({ network, what }: Repaired): void {
    const { clock, logger, networks } = this.#needs;
    logger.warn('network.repaired', { network, what });
    const at = clock.now();
    const ids = network === undefined ? [...networks.after()].map(({ id }) => id) : [network];
    for (const id of ids) this.#record(id, (status) => ({ ...status, repair: { at, what } }));
  }

  async follow(id: string): Promise<void> {
    const instance = this.#needs.instances.get(id);
    if (instance !== undefined && this.#plugged.has(id)) await this.apply(this.#concerned(instance));
  }

  async plug(instance: Instance, identity: Identity): Promise<{ readonly inForce: Promise<void> }> {
    if (instance.spec.nics.length === 0) return { inForce: Promise.resolve() };
    this.#plugged.set(instance.id, this.#pluggedAs(instance, identity));
    const turn = this.#ask();
    const inForce = heardBy(turn.inForce, this.#concerned(instance));
    await Promise.race([turn.ports, inForce]);
    // Who does not wait for it any more has failed otherwise.
    inForce.catch(() => undefined);
    return { inForce };
  }

  #concerned(instance: Instance): Concerned {
    const { id, spec, project } = instance;
    const networks = spec.nics.flatMap(
      ({ network }) => this.#needs.networks.find(network, project)?.id ?? [],
    );
    return { networks, instance: id };
  }

  async unplug(id: string): Promise<void> {
    if (!this.#plugged.delete(id)) return;
    const instance = this.#needs.instances.get(id);
    await this.apply(instance === undefined ? { networks: [] } : this.#concerned(instance));
  }

  #pluggedAs(instance: Instance, identity: Pick<Identity, 'uid' | 'gid' | 'own'>): Plugged {
    const { uid, gid } = identity;
    const ssh = this.#needs.network.driver === 'user' ? this.#sshOf(instance, identity) : undefined;
    return { owner: { uid, gid }, identity, forwards: ssh === undefined ? [] : [sshForward(ssh)] };
  }

  planned({ id, project }: Pick<Instance, 'id' | 'project'>, nics: readonly Nic[]): PlannedNic[] {
    const { networks, network } = this.#needs;
    return nics.map((nic) => {
      const { mtu } = networks.require(nic.network, project).spec;
      return plannedNic(nic, mtu, network.backend({ instance: id, nic: nic.name }));
    });
  }

  ssh(instance: Instance): Instance['status']['ssh'] {
    const plugged = this.#plugged.get(instance.id);
    return plugged === undefined ? undefined : this.#sshOf(instance, plugged.identity);
  }

  /** Guests with an operating system of their own are reached through their first card. */
  #sshOf(
    { id, spec, project }: Instance,
    identity: Pick<Identity, 'uid' | 'own'>,
  ): Instance['status']['ssh'] {
    const [first] = spec.nics;
    const image = spec.image === undefined ? undefined : this.#needs.images.find(spec.image, project);
    if (first === undefined || image?.spec.format === 'kernel') return undefined;
    if (this.#needs.network.driver === 'user')
      return { host: loopbackOf(id, identity), port: loopbackSshPort };
    const host = first.ipv4 ?? first.ipv6;
    return host === undefined ? undefined : { host, port: 22 };
  }

  /** Brings the host in line with the records and the guests that run, before anything is done to those. */
  async recover(): Promise<void> {
    const { hypervisor, logger, network } = this.#needs;
    this.#unsubscribe = network.onRepair((repaired) => this.#repaired(repaired));
    const slot = pLimit(claimsAtOnce);
    const found = await hypervisor.discover();
    await Promise.all(found.map((guest) => slot(() => this.#take(guest))));
    await this.apply().catch((error: unknown) => logger.error('network.not_applied', { error }));
  }

  async #take({ id, process }: FoundGuest): Promise<void> {
    const { instances, sandbox, logger } = this.#needs;
    const instance = instances.get(id);
    if (instance === undefined || instance.spec.nics.length === 0) return;
    const identity = await sandbox.claim(id, { kvm: false }).catch((error: unknown) => {
      logger.warn('network.identity_unknown', { instance: id, error });
      return { uid: process.uid, gid: process.gid, own: true };
    });
    this.#plugged.set(id, this.#pluggedAs(instance, identity));
  }

  /** Ends watching and trying again. What was made stays for the guests that go on; where none does, nothing of it stays on the host. */
  async close(): Promise<void> {
    const { network, logger } = this.#needs;
    this.#over.abort(new WirtError('daemon.stopping', 'wirtd is stopping.'));
    this.#unsubscribe();
    await this.#under;
    if (this.#plugged.size === 0)
      await network.apply(emptyNetworkPlan, AbortSignal.timeout(closeMs)).catch((error: unknown) => {
        logger.warn('network.not_taken_away', { error });
      });
    await network.close();
  }
}

function sshForward({ host, port }: { readonly host: string; readonly port: number }): PublishedPort {
  return { protocol: 'tcp', hostAddress: host, hostPort: port, guestPort: 22 };
}

/** Throws what concerns who asks. */
async function heardBy(inForce: Promise<void>, concerned: Concerned): Promise<void> {
  try {
    await inForce;
  } catch (error) {
    if (concerns(error, concerned)) throw error;
  }
}

/** A driver that knows what it could not make says so; else all is in doubt. */
function concerns(error: unknown, { networks, instance }: Concerned): boolean {
  const details = error instanceof WirtError ? error.details : undefined;
  const isAmong = (named: unknown, ids: readonly string[] | undefined): boolean =>
    ids === undefined || !Array.isArray(named) || ids.some((id) => named.includes(id));
  return (
    isAmong(details?.['networks'], networks) &&
    isAmong(details?.['instances'], instance === undefined ? undefined : [instance])
  );
}

/** Whether the network itself is in trouble, and not only some guest’s card on it. */
function isOf(error: WirtError, network: string): boolean {
  return error.details?.['instances'] === undefined && concerns(error, { networks: [network] });
}

function failed(cause: unknown): WirtError {
  if (cause instanceof WirtError) return cause;
  return new WirtError('network.failed', 'The host’s network could not be changed.', {
    cause,
    hint: 'It is tried again; see `wirt network ls` and the log of wirtd.',
  });
}

function sentence(error: WirtError): string {
  const why = causeText(error);
  return why === undefined ? error.message : `${error.message} ${why}`;
}
