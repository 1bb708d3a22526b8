// Packets a second of each port: a named limit for each, that a map finds by the port's interface, so that a port more costs the others nothing. Only
// where a port has one are there chains to look into.
import { type CardView, type FirewallView, perCards } from './firewall-view.ts';
import { isMissing, type Nft } from './nft.ts';
import type { NftChain, NftSet, NftTable } from './nft-table.ts';
import { interfaceWord } from './nft-words.ts';
import type { PacketRates } from './rate-readback.ts';
import { packetLimitOf } from './rates.ts';

export const rateMaps = { ingress: 'rates_ingress', egress: 'rates_egress' } as const;

export interface RatePieces {
  /** By name. */
  readonly limits: ReadonlyMap<string, string>;
  readonly sets: readonly (readonly [string, NftSet])[];
  readonly chains: readonly (readonly [string, NftChain])[];
}

/** What a guest sends is counted before it is looked at, what it is sent after all else. */
const hooks = {
  egress: { hook: 'type filter hook prerouting priority -310; policy accept;', key: 'iifname' },
  ingress: { hook: 'type filter hook postrouting priority -310; policy accept;', key: 'oifname' },
} as const;

export const ratePieces = perCards((view: FirewallView): RatePieces => {
  const limits = new Map<string, string>();
  const sets: [string, NftSet][] = [];
  const chains: [string, NftChain][] = [];
  for (const way of ['ingress', 'egress'] as const) {
    const elements = new Map<string, string>();
    for (const card of view.cards) {
      const limit = packetLimitOf(card.port.limits?.[way]?.packetsPerSecond);
      if (limit === undefined) continue;
      const { packetsPerSecond, burstPackets } = limit;
      // The kernel does not change a limit: another one is another name.
      const name = `${way}_${tapName(card)}_${packetsPerSecond}`;
      limits.set(name, `rate over ${packetsPerSecond}/second burst ${burstPackets} packets`);
      elements.set(card.tap, `"${name}"`);
    }
    if (elements.size === 0) continue;
    const { hook, key } = hooks[way];
    sets.push([rateMaps[way], { kind: 'map', definition: 'type ifname : limit;', elements }]);
    chains.push([rateMaps[way], { hook, rules: [`limit name ${key} map @${rateMaps[way]} drop`] }]);
  }
  return { limits, sets, chains };
});

function tapName({ tap }: CardView): string {
  return tap.replaceAll('"', '');
}

/** Packets a second by tap, of a map as nft lists it (the elements may come after the table): as the limit that it leads to says, where a rule asks it. */
export function parseRates(text: string, way: keyof typeof rateMaps): Map<string, number> {
  const found = new Map<string, number>();
  const map = rateMaps[way];
  if (!text.includes(`limit name ${hooks[way].key} map @${map} drop`)) return found;
  const limits = new Map(
    Array.from(text.matchAll(/\blimit (\S+) \{\s+rate over (\d+)\/second/g), ([, name = '', rate]) => [
      name,
      Number(rate),
    ]),
  );
  const [, elements = ''] = new RegExp(`\\bmap ${map} \\{[^}]*?elements = \\{([^}]*)\\}`).exec(text) ?? [];
  for (const [, tap = '', name = ''] of elements.matchAll(/"([^"]+)" : "([^"]+)"/g)) {
    const rate = limits.get(name);
    if (rate !== undefined && interfaceWord(tap) !== '') found.set(tap, rate);
  }
  return found;
}

/** `guard`: the table as it was made; undefined where that is not known. What is not there has no rates. */
export async function readPacketRates(
  nft: Pick<Nft, 'run'>,
  name: string,
  guard: NftTable | undefined,
  signal: AbortSignal,
): Promise<PacketRates> {
  const maps = Object.values(rateMaps).filter((map) => guard?.sets.has(map) ?? true);
  if (maps.length === 0) return { ingress: new Map(), egress: new Map() };
  const list = async (...words: string[]): Promise<string> => {
    try {
      return await nft.run(words, 'list the rates of ports', signal);
    } catch (error) {
      if (isMissing(error)) return '';
      throw error;
    }
  };
  // One process could not do it: nft 1.0.6 finds only what its last statement names.
  const listed = await Promise.all([
    list('-t', 'list', 'table', 'bridge', name),
    ...maps.map((map) => list('list', 'map', 'bridge', name, map)),
  ]);
  const text = listed.join('');
  return { ingress: parseRates(text, 'ingress'), egress: parseRates(text, 'egress') };
}
