/**
 * Keeps guests off the processors that others have alone: when such a guest comes or goes, the threads of all that run are told where
 * they may be now. Where nobody has processors alone, nothing is done.
 */
import pLimit from 'p-limit';
import type { HostTopology } from '../domain/placement/topology.ts';
import type { Guest } from '../ports/hypervisor.ts';
import type { LiveGuests } from './live-guests.ts';
import type { Shared } from './parts.ts';
import { commit } from './records.ts';

const pinMs = 10_000;
const pinnedAtOnce = 4;
const key = 'host/pinning';
const lane = 'pinning';

export interface Pinning {
  /** In force on all guests that run when it returns; on those that cannot be told, with the next pass. */
  settle(): Promise<void>;
  /** Of a guest that is being started, in its lane: others may have taken processors since it was given its place. */
  join(guest: Guest, signal: AbortSignal): Promise<void>;
}

export function createPinning(
  shared: Pick<Shared, 'placing' | 'instances' | 'lanes' | 'logger' | 'store'>,
  live: LiveGuests,
): Pinning {
  const { placing, instances, lanes, logger, store } = shared;
  /** What guests were told last, by this wirtd or the one before. */
  let applied: string | undefined;
  /** What an earlier wirtd has told of vCPUs that come later is not known any more. */
  let isFirst = true;
  const dedicated = (): string => placing.dedicated().join(' ');
  /** What the record shows is what was done. In the lane of the instance. */
  async function note(id: string, host: HostTopology): Promise<void> {
    const instance = instances.get(id);
    const { placement } = instance?.status ?? {};
    if (instance === undefined || placement === undefined) return;
    // Why it was placed as it was is told as it was then.
    const changed = { ...placing.confined(instance, host).record, reasons: placement.reasons };
    if (JSON.stringify(changed) === JSON.stringify(placement)) return;
    const status = { ...instance.status, placement: { ...placement, ...changed } };
    await commit(store, [instances.put({ ...instance, status })]);
  }
  /** Nobody waits for it: who settles may be in the way of that lane. */
  function noteLater(id: string, host: HostTopology): void {
    lanes
      .run(id, () => note(id, host))
      .catch((error: unknown) => logger.warn('instance.place_not_noted', { instance: id, error }));
  }
  return {
    async settle() {
      if (dedicated() === applied && !isFirst) return;
      await lanes.run(lane, async () => {
        const kept = (await store.get(key))?.value;
        applied ??= typeof kept === 'string' ? kept : '';
        const wanted = dedicated();
        const onlyPlaced = wanted === applied;
        if (onlyPlaced && !isFirst) return;
        const guests = [...live.all()].filter((guest) => {
          const { status } = instances.get(guest.id) ?? {};
          // One that is being started has been given its place before who is new here.
          const isThere = status?.process !== undefined || status?.state === 'starting';
          return isThere && (!onlyPlaced || status.placement !== undefined);
        });
        const host = guests.length === 0 ? undefined : await placing.host();
        let isWhole = true;
        const slot = pLimit(pinnedAtOnce);
        const one = async (guest: Guest): Promise<void> => {
          if (host === undefined) return;
          try {
            // Told with the next pass, when it answers.
            if (!guest.state.responsive) throw new Error('QEMU does not answer.');
            const { pins } = placing.confined(instances.require(guest.id), host);
            await guest.tuning.pin(pins, AbortSignal.timeout(pinMs));
            noteLater(guest.id, host);
          } catch (error) {
            if (live.get(guest.id) !== guest) return;
            isWhole = false;
            logger.warn('instance.not_pinned', { instance: guest.id, error });
          }
        };
        await Promise.all(guests.map((guest) => slot(() => one(guest))));
        if (!isWhole) return;
        if (!onlyPlaced) await store.write([{ type: 'put', key, value: wanted }]);
        [applied, isFirst] = [wanted, false];
      });
    },
    async join(guest, signal) {
      if (!placing.needs(instances.require(guest.id))) return;
      await lanes.run(lane, async () => {
        const host = await placing.host();
        await guest.tuning.pin(placing.confined(instances.require(guest.id), host).pins, signal);
        await note(guest.id, host);
      });
    },
  };
}
