/** What `wirt top` asks wirtd for: the last sample of the guests that are meant, and the limits of their disks and cards. */
import type { EffectiveLimits, Usage } from '@wirt/api';
import type { Context } from '../command.ts';
import { readPages } from '../paging.ts';
import type { PartKind } from './usage-row.ts';

interface Selected {
  readonly items: readonly Usage[];
  readonly failures: readonly unknown[];
}

/** Those asked for. One that is not among what was sampled is asked for by itself, so that it is told why. */
export async function selected({ client }: Context, names: readonly string[]): Promise<Selected> {
  const { items } = await client.call('GET /v1/usage', {});
  if (names.length === 0) return { items, failures: [] };
  const found = items.filter((usage) => isOneOf(usage, names));
  const missing = names.filter((name) => !items.some((usage) => isOneOf(usage, [name])));
  const failures: unknown[] = [];
  for (const instance of missing) {
    await client.call('GET /v1/instances/{instance}/usage', { params: { instance } }).then(
      (usage) => found.push(usage),
      (error: unknown) => failures.push(error),
    );
  }
  return { items: found, failures };
}

export function isOneOf({ name, instance }: Usage, names: readonly string[]): boolean {
  return names.includes(name) || names.includes(instance);
}

/** What was read back of the limits of disks and cards, by id of the instance; nothing where it is not shown or cannot be had. */
export async function limitsFor(
  { client }: Context,
  per: PartKind | undefined,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, EffectiveLimits> | undefined> {
  if (per !== 'disk' && per !== 'nic') return undefined;
  const query = { fields: 'id,status.limits', state: 'running' } as const;
  try {
    const { items } = await readPages(
      (page) => client.call('GET /v1/instances', { query: { ...page, ...query }, ...(signal && { signal }) }),
      'all',
    );
    return new Map(
      items.flatMap(({ id, status }) =>
        status.limits === undefined ? [] : [[id, status.limits.effective] as const],
      ),
    );
  } catch {
    return undefined;
  }
}
