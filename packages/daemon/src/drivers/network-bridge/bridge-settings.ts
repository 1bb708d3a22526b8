/** What the kernel is told of our bridges beyond what `ip` says; it tells nobody when somebody else changes it. See ip-sysctl.rst. */
import type { NetworkPlan, PlannedNetwork, Repaired } from '@wirt/core';
import type { HostSettings } from './host-settings.ts';
import type { HostNames } from './names.ts';

/** Settings of a bridge of ours. */
export function bridgeSettings(
  bridge: string,
  network: Pick<PlannedNetwork, 'ipv6' | 'kind'>,
): Record<string, string> {
  return {
    // Published ports are reached from the host's own loopback, too.
    ...(network.kind === 'bridged' ? {} : { [`net/ipv4/conf/${bridge}/route_localnet`]: '1' }),
    [`net/ipv4/conf/${bridge}/send_redirects`]: '0',
    [`net/ipv6/conf/${bridge}/accept_ra`]: '0',
    [`net/ipv6/conf/${bridge}/autoconf`]: '0',
    ...(network.ipv6 === undefined ? {} : { [`net/ipv6/conf/${bridge}/disable_ipv6`]: '0' }),
  };
}

export interface WrongSettings {
  readonly network: PlannedNetwork;
  /** As they should be. */
  readonly values: Readonly<Record<string, string>>;
}

/** Bridges that are not as they were set. Those that are not there have nothing wrong. */
export async function wrongBridgeSettings(
  { networks }: NetworkPlan,
  names: Pick<HostNames, 'bridge'>,
  settings: Pick<HostSettings, 'read'>,
): Promise<WrongSettings[]> {
  const found: WrongSettings[] = [];
  // One after the other: there may be a thousand, and nobody waits.
  for (const network of networks) {
    const wanted = Object.entries(bridgeSettings(names.bridge(network.id), network));
    const wrong = await Promise.all(
      wanted.map(async ([name, value]) => {
        const now = await settings.read(name);
        return now === undefined || now === value ? [] : [[name, value] as const];
      }),
    );
    const values = Object.fromEntries(wrong.flat());
    if (Object.keys(values).length > 0) found.push({ network, values });
  }
  return found;
}

/** Returns what is right now. */
export async function mendBridgeSettings(
  wrong: readonly WrongSettings[],
  settings: Pick<HostSettings, 'read' | 'setOwn'>,
): Promise<Repaired[]> {
  const mended = await Promise.all(
    wrong.map(async ({ network, values }): Promise<Repaired[]> => {
      await settings.setOwn(values);
      const right: string[] = [];
      for (const [name, value] of Object.entries(values))
        if ((await settings.read(name)) === value) right.push(name.split('/').at(-1) ?? name);
      if (right.length === 0) return [];
      return [
        {
          network: network.id,
          what: `the bridge of network ${network.name} had another ${right.join(', ')}`,
        },
      ];
    }),
  );
  return mended.flat();
}
