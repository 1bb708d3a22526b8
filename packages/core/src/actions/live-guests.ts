/**
 * The guests under control, and what they tell: state changes go into the record, each in its lane. An end that nobody
 * asked for is handed to `onEnded`; the actions that end a guest take it out of the table first.
 */
import { type Instance, type InstanceStatus, WirtError } from '@wirt/api';
import type { GuestExit } from '../domain/guest.ts';
import type { Guest } from '../ports/hypervisor.ts';
import { inState, observedState } from './instance-state.ts';
import type { Shared } from './parts.ts';
import { commit } from './records.ts';

type Needs = Pick<Shared, 'store' | 'late' | 'instances' | 'lanes' | 'clock' | 'logger'>;

export class LiveGuests {
  readonly #needs: Needs;
  readonly #guests = new Map<string, Guest>();
  /** Guests that are being looked at, and whether they have told something since. */
  readonly #looking = new Map<Guest, { again: boolean }>();
  /** Ids of those that were paused here, since a pool is about to be full. */
  readonly held = new Set<string>();
  /** Called in the lane of the instance, whose guest has ended by itself. */
  onEnded: (id: string, exit: GuestExit) => Promise<void> = () => Promise.resolve();
  /** Called when the record follows what the guest is now, and when it comes under control. Must return at once. */
  onObserved: (guest: Guest) => void = () => undefined;

  constructor(needs: Needs) {
    this.#needs = needs;
  }

  get(id: string): Guest | undefined {
    return this.#guests.get(id);
  }

  /**
   * The guest of an instance for work on its disks, undefined when nothing runs that has them open. Throws `instance.unresponsive` where
   * the record has a process that is not under control.
   */
  holding(id: string): Guest | undefined {
    const guest = this.#guests.get(id);
    const instance = this.#needs.instances.get(id);
    if (guest !== undefined || instance?.status.process === undefined) return guest;
    throw new WirtError(
      'instance.unresponsive',
      `Instance ${instance.name} has a process that wirtd does not have under control.`,
      { hint: `End it: \`wirt stop --force ${instance.name}\`.` },
    );
  }

  all(): Iterable<Guest> {
    return this.#guests.values();
  }

  /** Takes the guest under control. Call in its lane, before or with the record of its state. */
  add(guest: Guest): void {
    const { id } = guest;
    this.#guests.set(id, guest);
    // An earlier daemon has paused it for that: QEMU knows of no error.
    const { processors, diskError } = guest.state;
    const reason = this.#needs.instances.get(id)?.status.pauseReason;
    if (processors === 'paused' && diskError === undefined && reason === 'no-space') this.held.add(id);
    this.#look(guest);
    guest.listen((event) => {
      if (event.kind !== 'reset') this.#look(guest);
    });
    void guest.exited.then((exit) => {
      this.#inLane(id, async () => {
        if (this.#guests.get(id) !== guest) return;
        this.delete(id);
        await this.onEnded(id, exit);
      });
    });
  }

  /** Lets go of a guest that is being ended on purpose: its end is then the business of who ends it. */
  delete(id: string): void {
    this.#guests.delete(id);
    this.held.delete(id);
  }

  /** Once at a time, whatever a guest tells, and again when there is room where the store had none. Returns at once. */
  #look(guest: Guest): void {
    const looking = this.#looking.get(guest);
    if (looking !== undefined) {
      looking.again = true;
      return;
    }
    const { late, lanes, logger } = this.#needs;
    const look = { again: false };
    this.#looking.set(guest, look);
    const inLane = (): Promise<void> =>
      lanes.run(guest.id, () => {
        look.again = false;
        return this.#observe(guest);
      });
    late
      .insist(inLane)
      .catch((error: unknown) => logger.error('guest.observation_failed', { instance: guest.id, error }))
      .finally(() => {
        this.#looking.delete(guest);
        if (look.again) this.#look(guest);
      });
  }

  /** Brings the record in line with the guest. Doing it once more changes nothing. */
  async #observe(guest: Guest): Promise<void> {
    const { store, instances, clock } = this.#needs;
    const instance = instances.get(guest.id);
    if (instance === undefined || this.#guests.get(guest.id) !== guest) return;
    const changed = observed(instance, guest, this.held.has(guest.id));
    try {
      if (changed !== undefined)
        await commit(store, [instances.put(inState(clock, instance, changed.state, changed))]);
    } finally {
      // What waits for room in a pool is looked after also while the store has none.
      this.onObserved(guest);
    }
  }

  #inLane(id: string, work: () => Promise<void>): void {
    this.#needs.lanes.run(id, work).catch((error: unknown) => {
      this.#needs.logger.error('guest.observation_failed', { instance: id, error });
    });
  }
}

type Observed = Pick<InstanceStatus, 'state' | 'agent'> & Partial<Pick<InstanceStatus, 'pauseReason'>>;

function observed({ status }: Instance, guest: Guest, isHeld: boolean): Observed | undefined {
  const state = observedState(guest);
  const { agent, diskError } = guest.state;
  const pauseReason = state === 'paused' ? (diskError ?? (isHeld ? 'no-space' : undefined)) : undefined;
  switch (status.state) {
    case 'running':
    case 'paused':
    case 'unresponsive':
      if (state === status.state && agent === status.agent && pauseReason === status.pauseReason)
        return undefined;
      return { state, agent, ...(pauseReason === undefined ? {} : { pauseReason }) };
    // An operation is at it, or there is no process: not ours to change.
    case 'stopped':
    case 'starting':
    case 'stopping':
    case 'crashed':
    case 'removing':
      return undefined;
  }
}
