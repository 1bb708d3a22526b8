/**
 * Has the kernel merge equal pages while guests run whose memory allows it, and no longer. What somebody else has set stays: that it was Wirt is in the
 * store, so that a daemon that dies leaves it to the next. Another wirtd on the same host counts as somebody else.
 */
import type { Instance } from '@wirt/api';
import { profileOf } from '../domain/tuning/profile.ts';
import type { Shared } from './parts.ts';

const key = 'host/page-merging';
const lane = 'page-merging';

type Parts = Pick<Shared, 'store' | 'lanes' | 'instances' | 'admitted' | 'pageMerging' | 'host' | 'logger'>;

/** The kernel merges no huge pages. */
export function isMergeable({
  spec,
  status,
}: Pick<Instance, 'spec'> & { readonly status?: Instance['status'] | undefined }): boolean {
  return profileOf(spec.tuning).mergeable && status?.placement?.pageSizeKib === undefined;
}

/** For a guest that is admitted. Never throws: it runs without as well. */
export async function mergePages({ store, lanes, pageMerging, host, logger }: Parts): Promise<void> {
  if (pageMerging === undefined) return;
  await lanes
    .run(lane, async () => {
      if ((await pageMerging.run()) !== 0) return;
      // First what is intended: a daemon that dies in between finds it.
      await store.write([{ type: 'put', key, value: { boot: await host.bootId() } }]);
      await pageMerging.setRun(1);
      logger.info('host.merges_pages', {});
    })
    .catch((error: unknown) => logger.warn('host.not_tuned', { what: 'page merging', error }));
}

/**
 * When no such guest is left. What is merged then is other programs', which have asked for it: taking it apart (2) would take memory that may not be
 * there, and guests' own went with them. Costs nothing where Wirt has not turned it on.
 */
export async function stopMerging(parts: Parts): Promise<void> {
  const { store, lanes, pageMerging, host, logger } = parts;
  if (pageMerging === undefined || isWanted(parts) || (await store.get(key)) === undefined) return;
  await lanes
    .run(lane, async () => {
      const kept = (await store.get(key))?.value as { readonly boot: string } | undefined;
      if (kept === undefined || isWanted(parts)) return;
      // What was so before the host was started again says nothing of it now.
      const isOurs = kept.boot === (await host.bootId()) && (await pageMerging.run()) === 1;
      if (isOurs) await pageMerging.setRun(0);
      await store.write([{ type: 'delete', key }]);
    })
    .catch((error: unknown) => logger.warn('host.not_tuned', { what: 'page merging', error }));
}

/** What a guest that runs was started with counts, and not what is asked for by now. */
function isWanted({ instances, admitted }: Parts): boolean {
  for (const instance of instances.after()) {
    const { process, run } = instance.status;
    if (process === undefined ? admitted.has(instance.id) && isMergeable(instance) : run?.mergeable === true)
      return true;
  }
  return false;
}
