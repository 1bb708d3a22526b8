/**
 * Takes over networks that were made with the other driver: whoever installs what bridges need has guests that go on with the same network,
 * with addresses of its own from then on. What cannot be taken over stays as it is, and its guests are not started.
 */
import type { Instance, Network } from '@wirt/api';
import { chooseAddresses } from '../domain/network/addresses.ts';
import { plannedNetwork } from '../domain/network/plan.ts';
import { cardsOn, takenOn } from './cards.ts';
import { subnetsOf } from './network-new.ts';
import { networksLane } from './network-state.ts';
import type { Shared } from './parts.ts';
import { commit } from './records.ts';

/** Call before the host is told of any network. */
export async function adoptNetworks(shared: Shared): Promise<void> {
  const { networks, lanes, logger, network: driver } = shared;
  for (const { id, status, spec } of [...networks.after()]) {
    if (status.driver === driver.driver) continue;
    if (driver.driver === 'user' && spec.kind !== 'nat') continue;
    await lanes
      .run(networksLane, () => adopt(shared, networks.require(id)))
      .catch((error: unknown) => logger.error('network.not_adopted', { network: id, error }));
  }
}

/** All of it or nothing: a card without an address would have none for good. */
async function adopt(shared: Shared, network: Network): Promise<void> {
  const { networks, instances, store, logger, network: driver } = shared;
  const { spec } = network;
  const isBare = typeof spec.ipv4 !== 'string' && typeof spec.ipv6 !== 'string';
  const { ipv4: _, ipv6: __, ...open } = spec;
  const subnets = isBare ? await subnetsOf(shared, network.id, { spec: open }) : {};
  const adopted: Network = { ...network, spec: { ...spec, ...subnets } };
  const { ipv4, ipv6 } = plannedNetwork(adopted);
  const gateways = [ipv4, ipv6].flatMap((one) => one?.gateway ?? []);
  const status = { driver: driver.driver, state: 'ready', gateways } as const;
  const changed = driver.driver === 'user' ? [] : addressed(shared, adopted);
  await commit(store, [
    networks.put({ ...adopted, status }),
    ...changed.map((instance) => instances.put(instance)),
  ]);
  logger.info('network.adopted', { network: network.id, driver: driver.driver, instances: changed.length });
}

/** Instances whose cards on the network get the addresses that they lack. */
function addressed(shared: Shared, network: Network): Instance[] {
  const taken = takenOn(shared, network);
  const changed = new Map<string, Instance>();
  for (const { instance, nic } of cardsOn(shared, network)) {
    if (nic.ipv4 !== undefined || nic.ipv6 !== undefined) continue;
    const addresses = chooseAddresses({ name: network.name, ...network.spec }, {}, taken);
    for (const address of Object.values(addresses)) taken.set(address, `${nic.name} of ${instance.name}`);
    const now = changed.get(instance.id) ?? instance;
    const nics = now.spec.nics.map((one) => (one.name === nic.name ? { ...one, ...addresses } : one));
    changed.set(instance.id, { ...now, spec: { ...now.spec, nics } });
  }
  return [...changed.values()];
}
