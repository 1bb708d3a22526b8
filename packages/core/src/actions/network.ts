/** Networks: their records, who is on them, and following a packet through them. What the host is to be like is network-state’s. */
import { type Instance, type Network, type NetworkPort, type NetworkPorts, WirtError } from '@wirt/api';
import { namesOf } from '../domain/names.ts';
import { pageOf } from '../domain/page.ts';
import type { ObservedNetwork, ObservedPort } from '../ports/network.ts';
import type { NetworkActions } from './actions.ts';
import { cardsOn } from './cards.ts';
import { newNetwork } from './network-new.ts';
import { networksLane } from './network-state.ts';
import { traceNetwork } from './network-trace.ts';
import type { Shared } from './parts.ts';
import { commit, nameConflict, nameTaken } from './records.ts';

const observeMs = 10_000;

export function createNetworkActions(shared: Shared): NetworkActions {
  const { networks, store, lanes, networking, faults } = shared;
  return {
    list: async ({ cursor, limit, project }) => {
      const { items, ...rest } = pageOf(networks.after(cursor), limit, (one) => one.project === project);
      return { items: items.map((network) => observed(shared, network)), ...rest };
    },
    get: async (ref) => observed(shared, networks.require(ref)),
    create: async (_request, input) => {
      const { id } = await lanes.run(networksLane, async () => {
        if (networks.find(input.name, input.project) !== undefined) throw nameTaken('network', input.name);
        const network = await newNetwork(shared, input);
        await faults.at('network.create/record');
        await commit(store, [networks.put(network)]).catch((error: unknown) => {
          throw nameConflict(error, 'network');
        });
        return network;
      });
      try {
        await faults.at('network.create/apply');
        await networking.apply({ networks: [id] });
      } catch (error) {
        await giveUp(shared, id);
        throw error;
      }
      return observed(shared, networks.require(id));
    },
    ports: (_request, ref) => portsOf(shared, networks.require(ref)),
    remove: async (_request, ref) => {
      const { id } = networks.require(ref);
      await lanes.run(networksLane, async () => {
        const network = networks.require(id);
        requireUnused(shared, network);
        await faults.at('network.remove/record');
        await commit(store, [networks.remove(network)]);
      });
      await faults.at('network.remove/apply');
      await networking.apply({ networks: [id] });
    },
    trace: (request, input) => traceNetwork(shared, request, input),
  };
}

/** A network that could not be made goes again, unless somebody has a card on it by now. */
async function giveUp(shared: Shared, id: string): Promise<void> {
  const { networks, store, lanes, networking, logger } = shared;
  try {
    await lanes.run(networksLane, async () => {
      const network = networks.get(id);
      if (network !== undefined && cardsOn(shared, network).length === 0)
        await commit(store, [networks.remove(network)]);
    });
    await networking.apply({ networks: [] });
  } catch (error) {
    logger.error('network.not_undone', { network: id, error });
  }
}

function requireUnused(shared: Shared, network: Network): void {
  const cards = cardsOn(shared, network);
  const [first] = cards;
  if (first === undefined) return;
  const names = [...new Set(cards.map(({ instance }) => instance))];
  throw new WirtError('network.in_use', `Network ${network.name} has cards of ${namesOf(names)}.`, {
    hint: `Detach them first: \`wirt network detach ${first.instance.name}/${first.nic.name}\`, or remove the instances.`,
    details: { instances: names.map(({ name }) => name) },
  });
}

/** The bridge is known by who has made it. */
function observed({ network: driver }: Shared, network: Network): Network {
  const name = driver.interfaceOf(network.id);
  return name === undefined ? network : { ...network, status: { ...network.status, interface: name } };
}

async function portsOf(shared: Shared, network: Network): Promise<NetworkPorts> {
  const seen = await shared.network.observe(network.id, AbortSignal.timeout(observeMs));
  const byCard = new Map(seen.ports.map((port) => [`${port.instance}/${port.nic}`, port]));
  return {
    items: cardsOn(shared, network).map(({ instance, nic }) =>
      portOf(instance, nic, byCard.get(`${instance.id}/${nic.name}`)),
    ),
    rules: rulesOf(shared, seen),
    ...(seen.shadows === undefined ? {} : { shadows: [...seen.shadows] }),
  };
}

function portOf(
  { id, name }: Instance,
  nic: Instance['spec']['nics'][number],
  seen: ObservedPort | undefined,
): NetworkPort {
  const { mac, securityGroups } = nic;
  const addresses = [nic.ipv4, nic.ipv6].filter((one) => one !== undefined);
  const port = { instance: name, instanceId: id, nic: nic.name, mac, addresses, securityGroups };
  if (seen === undefined) return { ...port, leases: [] };
  const leases = seen.leases.map(({ address, untilMs }) => ({
    address,
    ...(untilMs === undefined ? {} : { until: new Date(untilMs).toISOString() }),
  }));
  const { interface: end, counters, spoofed } = seen;
  return {
    ...port,
    leases,
    ...(end === undefined ? {} : { interface: end }),
    ...(counters === undefined ? {} : { counters }),
    ...(spoofed === undefined ? {} : { spoofed }),
  };
}

/** The driver knows groups by their ids. */
function rulesOf({ groups }: Shared, seen: ObservedNetwork): NetworkPorts['rules'] {
  return seen.rules.flatMap(({ group, ...rule }) => {
    const name = groups.get(group)?.name;
    return name === undefined ? [] : [{ group: name, ...rule }];
  });
}
