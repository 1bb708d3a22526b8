/**
 * Keeps guests off the processors that others have alone: when such a guest comes or goes, the threads of all that run are told where
 * they may be now. Where nobody has processors alone, nothing is done.
 */
import type { InstancePlacement } from '@wirt/api';
import { printCpuList } from '../domain/placement/cpu-list.ts';
import type { LiveGuests } from './live-guests.ts';
import type { Shared } from './parts.ts';
import { commit } from './records.ts';

const pinMs = 10_000;
const lane = 'pinning';

export interface Pinning {
  /** In force on all guests that run when it returns; on those that cannot be told, with the next pass. */
  settle(): Promise<void>;
}

export function createPinning(
  shared: Pick<Shared, 'placing' | 'instances' | 'lanes' | 'logger' | 'store'>,
  live: LiveGuests,
): Pinning {
  const { placing, instances, lanes, logger, store } = shared;
  let applied = '';
  /** What an earlier wirtd has told of vCPUs that come later is not known any more. */
  let isFirst = true;
  const dedicated = (): string =>
    placing
      .holdings()
      .flatMap((holding) =>
        holding.dedicated.length === 0 ? [] : `${holding.name}:${printCpuList(holding.dedicated)}`,
      )
      .join(' ');
  /** What the record shows is what was done. */
  async function note(id: string, record: InstancePlacement | undefined): Promise<void> {
    const instance = instances.get(id);
    const { placement } = instance?.status ?? {};
    if (instance === undefined || placement === undefined || record === undefined) return;
    // Why it was placed as it was is told as it was then.
    const changed = { ...record, reasons: placement.reasons };
    if (JSON.stringify(changed) === JSON.stringify(placement)) return;
    await commit(store, [instances.put({ ...instance, status: { ...instance.status, placement: changed } })]);
  }
  return {
    async settle() {
      if (dedicated() === applied && !isFirst) return;
      await lanes.run(lane, async () => {
        const wanted = dedicated();
        const onlyPlaced = wanted === applied;
        if (onlyPlaced && !isFirst) return;
        isFirst = false;
        const host = await placing.host();
        let isWhole = true;
        for (const guest of live.all()) {
          const instance = instances.get(guest.id);
          if (instance?.status.process === undefined) continue;
          if (onlyPlaced && instance.status.placement === undefined) continue;
          try {
            const { pins, record } = placing.confined(instance, host);
            await guest.tuning.pin(pins, AbortSignal.timeout(pinMs));
            await note(guest.id, record);
          } catch (error) {
            isWhole = false;
            logger.warn('instance.not_pinned', { instance: guest.id, error });
          }
        }
        if (isWhole) applied = wanted;
      });
    },
  };
}
