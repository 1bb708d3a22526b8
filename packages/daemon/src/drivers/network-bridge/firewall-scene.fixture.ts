// A host in a namespace with four networks, guests on them, a neighbour outside and a colleague on the office's LAN, each in a namespace of its
// own, and a firewall that is applied on the host. What tests of the firewall with real packets begin with.
import type { NetworkPlan, PlannedGroup, PlannedPort } from '@wirt/core';
import { createFirewall, type Firewall } from './firewall.ts';
import { createPlace, type LabPlace, plug } from './firewall-lab.fixture.ts';
import {
  anythingOut,
  card,
  group,
  names,
  network,
  planOf,
  rule,
  silentLogger,
} from './firewall-plan.fixture.ts';
import { createNft } from './nft.ts';

export const signal = (): AbortSignal => AbortSignal.timeout(20_000);
export const facts = { uplinks: ['uplink'] };

export const lan = network('lan', {
  ipv4: { subnet: '10.80.0.0/24', gateway: '10.80.0.1' },
  ipv6: { subnet: 'fd80:1::/64', gateway: 'fd80:1::1' },
});
const other = network('two', { ipv4: { subnet: '10.82.0.0/24', gateway: '10.82.0.1' } });
const alone = network('iso', {
  kind: 'isolated',
  ipv4: { subnet: '10.81.0.0/24', gateway: '10.81.0.1' },
});
const office = network('off', { kind: 'bridged', uplink: { interface: 'eth9' } });

const at = (last: number, given: Partial<PlannedPort> = {}): Partial<PlannedPort> => ({
  ipv4: `10.80.0.${last}`,
  ipv6: `fd80:1::${last}`,
  ...given,
});
/** a and b are of one group, c of another, d on another network; e and f are isolated; g and h are on the office's LAN. */
export const ports = {
  a: card('a', 2, at(2, { groups: ['WEB'] })),
  b: card('b', 3, at(3, { groups: ['WEB'] })),
  c: card('c', 4, at(4, { groups: ['DB'] })),
  d: card('d', 5, { network: 'two', ipv4: '10.82.0.5', groups: ['WEB'] }),
  e: card('e', 6, { network: 'iso', ipv4: '10.81.0.6', groups: ['WEB'] }),
  f: card('f', 7, { network: 'iso', ipv4: '10.81.0.7', groups: ['WEB'] }),
  g: card('g', 8, { network: 'off', groups: ['WEB'] }),
  h: card('h', 9, { network: 'off', groups: ['DB'] }),
};
export type Guest = keyof typeof ports;

export const web = group('WEB', anythingOut, rule('SAME', { group: 'group-web', groupId: 'WEB' }));
export const db = group('DB', rule('OUT2', { direction: 'egress' }));

let generation = 0;
function plan(
  change: Partial<Record<Guest, Partial<PlannedPort>>> = {},
  groups: readonly PlannedGroup[] = [web, db],
): NetworkPlan {
  generation = (generation % 4095) + 1;
  return planOf({
    generation,
    networks: [lan, other, alone, office],
    ports: Object.entries(ports).map(([name, port]) => ({ ...port, ...change[name as Guest] })),
    groups,
  });
}

/** Has nft list something there. */
export const nftOf = async ({ enter }: LabPlace, ...args: readonly string[]): Promise<string> =>
  await createNft([...enter, 'nft']).run(args, 'list', signal());

export interface Scene extends AsyncDisposable {
  readonly host: LabPlace;
  readonly outside: LabPlace;
  readonly colleague: LabPlace;
  readonly guests: Readonly<Record<Guest, LabPlace>>;
  readonly firewall: Firewall;
  /** Changes that the kernel refused, so that all was replaced. */
  readonly replaced: string[];
  /** The plan with these changes, in the next generation. */
  apply(...args: Parameters<typeof plan>): Promise<void>;
  spoofed(guest: Guest): Promise<number>;
}

export async function createScene(): Promise<Scene> {
  const replaced: string[] = [];
  const guestNames = Object.keys(ports) as Guest[];
  const places = await Promise.all(['host', 'outside', 'colleague', ...guestNames].map(createPlace));
  const [host, outside, colleague] = places as [LabPlace, LabPlace, LabPlace];
  const guests = Object.fromEntries(guestNames.map((name, index) => [name, places[index + 3]])) as Record<
    Guest,
    LabPlace
  >;
  await plug(
    { place: host, name: 'eth0', addresses: ['192.0.2.1/24', '2001:db8::1/64'] },
    { place: outside, name: 'eth0', addresses: ['192.0.2.2/24', '2001:db8::2/64'] },
  );
  for (const { id, ipv4, ipv6 } of [lan, other, alone, office]) {
    const bridge = `wb${id}`;
    await host.ip('link', 'add', bridge, 'type', 'bridge', 'nf_call_iptables', '1', 'nf_call_ip6tables', '1');
    if (ipv4 !== undefined) await host.ip('addr', 'add', `${ipv4.gateway}/24`, 'dev', bridge);
    if (ipv6 !== undefined) await host.ip('addr', 'add', `${ipv6.gateway}/64`, 'dev', bridge, 'nodad');
    await host.ip('link', 'set', bridge, 'up');
    await host.sysctl(`ipv4/conf/${bridge}/route_localnet`, '1');
  }
  await host.sysctl('ipv4/ip_forward', '1');
  await host.sysctl('ipv6/conf/all/forwarding', '1');
  await plug(
    { place: host, name: 'uplink', bridge: 'wboff' },
    { place: colleague, name: 'eth0', addresses: ['10.99.0.1/24'] },
  );
  await Promise.all(guestNames.map(async (name) => await plugGuest(host, name, guests[name])));
  const firewall = createFirewall({
    tag: 'test',
    ...names,
    logger: { ...silentLogger, warn: (event) => void replaced.push(event) },
    command: [...host.enter, 'nft'],
  });
  await Promise.all(
    [...Object.values(guests), outside, colleague].flatMap((place) => [
      place.serve('tcp', 80),
      place.serve('tcp', 81),
      place.serve('udp', 80),
    ]),
  );
  await host.serve('tcp', 80);
  await host.serve('tcp', 22);
  await host.serve('tcp', 53);
  await host.serve('udp', 53, '10.80.0.1');
  return {
    ...{ host, outside, colleague, guests, firewall, replaced },
    apply: async (...args) => await firewall.apply(plan(...args), facts, signal()),
    spoofed: async (guest) => (await firewall.observe(signal())).spoofed.get(`wt${guest}`) ?? -1,
    async [Symbol.asyncDispose]() {
      await Promise.all(places.map(async (place) => await place[Symbol.asyncDispose]()));
    },
  };
}

async function plugGuest(host: LabPlace, name: Guest, place: LabPlace): Promise<void> {
  const { network: on, mac, ipv4 = `10.99.0.${name === 'g' ? 8 : 9}`, ipv6 } = ports[name];
  await plug(
    { place: host, name: `wt${name}`, bridge: `wb${on}` },
    {
      place,
      name: 'eth0',
      mac,
      addresses: [`${ipv4}/24`, ...(ipv6 === undefined ? [] : [`${ipv6}/64`])],
    },
  );
  const net = [lan, other, alone, office].find(({ id }) => id === on);
  if (net?.ipv4 !== undefined) await place.ip('route', 'add', 'default', 'via', net.ipv4.gateway);
  if (net?.ipv6 !== undefined) await place.ip('-6', 'route', 'add', 'default', 'via', net.ipv6.gateway);
}
