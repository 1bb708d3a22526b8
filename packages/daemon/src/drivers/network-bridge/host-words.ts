/** What could not be made on the host as errors, and what was mended as sentences. */
import { WirtError } from '@wirt/api';
import type { NetworkPlan, Repaired } from '@wirt/core';
import type { FailedChange } from './ip.ts';
import type { LinkChange } from './link-diff.ts';

export function asFailure(error: unknown): WirtError {
  if (error instanceof WirtError) return error;
  return new WirtError('network.failed', 'The host’s packet filter could not be changed.', { cause: error });
}

/** One error for each network, and each card where it is only that, with the first of what `ip` said. */
export function linkErrors(failed: readonly FailedChange[], plan: NetworkPlan): WirtError[] {
  const nameOf = new Map(plan.networks.map(({ id, name }) => [id, name]));
  const first = new Map<string, FailedChange>();
  for (const failure of failed) {
    const { network = '', instance = '' } = failure.change;
    const key = `${network} ${instance}`;
    if (!first.has(key)) first.set(key, failure);
  }
  return [...first.values()].map(({ change, said }) => {
    const { network, instance } = change;
    const name = nameOf.get(network ?? '');
    const message =
      name === undefined
        ? 'The host’s interfaces could not be tidied up.'
        : `Network ${name} could not be made as it should be.`;
    return new WirtError('network.failed', message, {
      cause: new Error(`${change.program ?? 'ip'} ${change.line}: ${said}`),
      hint: 'See what is there: ip -br link; ip -br addr',
      details: {
        networks: network === undefined ? [] : [network],
        ...(instance === undefined ? {} : { instances: [instance] }),
      },
    });
  });
}

/** Several as one: what it concerns is what any of them does. */
export function together(errors: readonly WirtError[]): WirtError {
  const [first, ...more] = errors;
  if (first === undefined || more.length === 0) return first ?? new WirtError('internal', 'Nothing failed.');
  const named = (key: 'networks' | 'instances'): unknown[] | undefined => {
    const lists = errors.map(({ details }) => details?.[key]);
    return lists.every((list) => Array.isArray(list)) ? [...new Set(lists.flat())] : undefined;
  };
  const [networks, instances] = [named('networks'), named('instances')];
  return new WirtError('network.failed', `${first.message} ${more.length} more could not be made either.`, {
    cause: first.cause,
    ...(first.hint === undefined ? {} : { hint: first.hint }),
    details: {
      ...(networks === undefined ? {} : { networks }),
      ...(networks === undefined || instances === undefined ? {} : { instances }),
    },
  });
}

const mostNamed = 3;

export function repairsOf(changes: readonly LinkChange[]): Repaired[] {
  const byNetwork = Map.groupBy(changes, ({ network }) => network);
  return [...byNetwork].map(([network, of]) => {
    const sentences = [...new Set(of.map(({ wrong }) => wrong))];
    const more = sentences.length > mostNamed ? [`and ${sentences.length - mostNamed} more`] : [];
    const what = [...sentences.slice(0, mostNamed), ...more].join('; ');
    return network === undefined ? { what } : { network, what };
  });
}
