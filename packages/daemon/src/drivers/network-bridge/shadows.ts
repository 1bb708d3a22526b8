/**
 * Chains of others on the host that drop what our tables let pass, as Docker's do. They are theirs and stay: it is said, once for each that
 * appears or goes, and to whoever asks about a network.
 */
import type { Logger, ShadowingChain } from '@wirt/core';
import type { Firewall } from './firewall.ts';

export interface ShadowsOptions {
  readonly firewall: Pick<Firewall, 'shadows'>;
  readonly logger: Logger;
}

export interface Shadows {
  /** Says what has changed since the last look. */
  look(signal: AbortSignal): Promise<void>;
  /** What stands in the way of one bridge. */
  of(bridge: string, signal: AbortSignal): Promise<readonly ShadowingChain[]>;
}

/** Another daemon of ours drops only what is of its own bridges, and says so in ways that no guess sees through. */
const isWirts = ({ table }: ShadowingChain): boolean => /^\S+ wirt_/.test(table);

export function createShadows({ firewall, logger }: ShadowsOptions): Shadows {
  let known = new Map<string, ShadowingChain>();
  const found = async (signal: AbortSignal, ...of: string[][]): Promise<ShadowingChain[]> =>
    (await firewall.shadows(signal, ...of)).filter((shadow) => !isWirts(shadow));
  return {
    async look(signal) {
      const now = new Map((await found(signal)).map((shadow) => [shadow.why, shadow]));
      for (const [why, shadow] of now) if (!known.has(why)) logger.warn('network.shadowed', { ...shadow });
      for (const [why, { table }] of known)
        if (!now.has(why)) logger.info('network.shadow_gone', { table, why });
      known = now;
    },
    of: (bridge, signal) => found(signal, [bridge]),
  };
}
