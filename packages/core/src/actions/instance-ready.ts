/**
 * Whether a guest is done with its start: its agent answers, and cloud-init has finished where it has a part in it. Asks the guest, which may
 * lie, be slow or never answer; nothing else waits for that.
 */
import { type Instance, WirtError } from '@wirt/api';
import type { Guest } from '../ports/hypervisor.ts';
import type { LiveGuests } from './live-guests.ts';
import type { Shared } from './parts.ts';
import { commit } from './records.ts';

/** cloud-init may install packages. */
const cloudInitSeconds = 1800;
const addressesMs = 10_000;
/** For the agent to be asked and to answer. */
const slackMs = 10_000;
/** Addresses come a moment after the agent does. */
const addressTries = 6;
const addressPauseMs = 2_000;

export interface ReadyWatch {
  /** Looks whether there is something to wait for. Returns at once. */
  look(guest: Guest): void;
  /**
   * Resolves when the instance is ready or no guest of it is under control; rejects when the signal aborts, and with `guest.command_failed`
   * when cloud-init says that it has failed.
   */
  change(id: string, signal: AbortSignal): Promise<void>;
}

export function createReady(shared: Shared, live: LiveGuests): ReadyWatch {
  const { instances, images, store, late, lanes, logger, clock } = shared;
  const asking = new Set<Guest>();
  const waiters = new Map<string, Set<(failure?: Error) => void>>();

  const wake = (id: string, failure?: Error): void => {
    const waiting = waiters.get(id);
    waiters.delete(id);
    for (const tell of waiting ?? []) tell(failure);
  };

  function hasCloudInit({ spec, project }: Instance): boolean {
    if (spec.cloudInit !== undefined) return true;
    return spec.image !== undefined && images.find(spec.image, project)?.status.cloudInit === true;
  }

  async function ask(guest: Guest): Promise<void> {
    const ended = new AbortController();
    void guest.exited.then(() => ended.abort(new Error('The guest has ended.')));
    const instance = instances.get(guest.id);
    if (instance === undefined) return;
    const failure = hasCloudInit(instance) ? await waitForCloudInit(guest, ended.signal) : undefined;
    if (failure !== undefined) return record(guest, { notReady: failure });
    await record(guest, { ready: true, ...(await addressesOf(guest, ended.signal)) });
    for (let number = 1; number < addressTries && isWithoutAddress(guest); number += 1) {
      await clock.sleep(addressPauseMs, ended.signal);
      const found = await addressesOf(guest, ended.signal);
      if (found.addresses !== undefined) await record(guest, found);
    }
  }

  function isWithoutAddress(guest: Guest): boolean {
    return live.get(guest.id) === guest && instances.get(guest.id)?.status.addresses === undefined;
  }

  /** None, when it has none yet or does not say. */
  async function addressesOf(
    guest: Guest,
    ended: AbortSignal,
  ): Promise<Pick<Instance['status'], 'addresses'>> {
    try {
      const addresses = await guest.agent.addresses(
        AbortSignal.any([ended, AbortSignal.timeout(addressesMs)]),
      );
      return addresses.length === 0 ? {} : { addresses };
    } catch (error) {
      logger.info('guest.addresses_not_told', { instance: guest.id, error });
      return {};
    }
  }

  async function record(
    guest: Guest,
    changes: Pick<Partial<Instance['status']>, 'ready' | 'notReady' | 'addresses'>,
  ): Promise<void> {
    const inLane = (): Promise<void> =>
      lanes.run(guest.id, async () => {
        const instance = instances.get(guest.id);
        if (instance === undefined || live.get(guest.id) !== guest) return;
        await commit(store, [instances.put({ ...instance, status: { ...instance.status, ...changes } })]);
      });
    await late.insist(inLane);
    wake(guest.id, failureOf(instances.get(guest.id)));
  }

  return {
    look(guest) {
      const status = instances.get(guest.id)?.status;
      if (!guest.state.agent || asking.has(guest) || status === undefined) return;
      if (status.notReady !== undefined || (status.ready === true && status.addresses !== undefined)) return;
      asking.add(guest);
      void guest.exited.then(() => wake(guest.id));
      ask(guest)
        .catch((error: unknown) => logger.info('guest.readiness_not_told', { instance: guest.id, error }))
        .finally(() => asking.delete(guest));
    },
    change(id, signal) {
      const guest = live.get(id);
      const instance = instances.get(id);
      if (guest === undefined || instance?.status.ready === true) return Promise.resolve();
      const failure = failureOf(instance);
      if (failure !== undefined) return Promise.reject(failure);
      return new Promise((resolve, reject) => {
        const waiting = waiters.get(id) ?? new Set();
        waiters.set(id, waiting);
        const aborted = (): void => {
          waiting.delete(woken);
          reject(signal.reason as Error);
        };
        const woken = (failure?: Error): void => {
          signal.removeEventListener('abort', aborted);
          if (failure === undefined) resolve();
          else reject(failure);
        };
        waiting.add(woken);
        void guest.exited.then(() => woken());
        if (signal.aborted) aborted();
        else signal.addEventListener('abort', aborted, { once: true });
      });
    },
  };
}

/** Undefined unless cloud-init itself has said that it failed. */
function failureOf(instance: Instance | undefined): WirtError | undefined {
  const notReady = instance?.status.notReady;
  if (instance === undefined || notReady === undefined) return undefined;
  const { name } = instance;
  return new WirtError('guest.command_failed', `Instance ${name} will not become ready.`, {
    cause: notReady,
    hint: `Look at its log: \`wirt exec ${name} -- cat /var/log/cloud-init-output.log\`.`,
  });
}

/**
 * Gives back why cloud-init has failed, when it says so. `status --wait` ends when cloud-init has; 0 is done, 1 failed, 2 is done with
 * complaints (cloud-init's own documentation).
 */
async function waitForCloudInit(guest: Guest, ended: AbortSignal): Promise<string | undefined> {
  const argv = ['cloud-init', 'status', '--wait'];
  const signal = AbortSignal.any([ended, AbortSignal.timeout(cloudInitSeconds * 1000 + slackMs)]);
  const { exitCode } = await guest.agent.exec({ argv, timeoutSeconds: cloudInitSeconds }, signal);
  if (exitCode === 0 || exitCode === 2) return undefined;
  return 'cloud-init has ended with an error.';
}
