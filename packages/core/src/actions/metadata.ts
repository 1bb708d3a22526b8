/**
 * The metadata service's side of the product: where guests reach it, and what each may know. A guest is who has the address on the network
 * that the question came from; nothing that it says of itself counts.
 */
import {
  type Image,
  type Instance,
  type Network,
  type Nic,
  networkSchema,
  type SecurityGroup,
  WirtError,
} from '@wirt/api';
import { type MetadataCard, metadataTree, nodeAt } from '../domain/metadata.ts';
import { canonicalAddress } from '../domain/network/ip.ts';
import type { SeedFiles } from '../ports/seed-files.ts';
import type { Json, Store } from '../ports/store.ts';
import type { MetadataActions, MetadataEndpoint, MetadataGuest } from './actions.ts';
import type { Shared } from './parts.ts';
import { listAll, type Records } from './records.ts';

/** Where plain HTTP is; the host leads 169.254.169.254 and fd00:ec2::254 there. */
const port = 80;
const prefix = 'network/';

export interface MetadataParts extends Pick<Shared, 'store'> {
  readonly instances: Pick<Records<Instance>, 'after'>;
  readonly images: Pick<Records<Image>, 'find'>;
  readonly seeds: Pick<SeedFiles, 'userData'>;
  readonly networks: Pick<Records<Network>, 'get' | 'find'>;
  readonly groups: Pick<Records<SecurityGroup>, 'find'>;
}

export function createMetadataActions(parts: MetadataParts): MetadataActions {
  return {
    endpoints: (signal) => endpoints(parts.store, signal),
    guest: async (network, address) => {
      const home = parts.networks.get(network);
      const asked = canonicalAddress(address);
      if (home === undefined || asked === undefined) return undefined;
      for (const instance of parts.instances.after())
        if (has(parts, instance, home, asked)) return guestOf(parts, instance);
      return undefined;
    },
  };
}

/** Refuses an instance that would look for the service in vain, for minutes, at its start. */
export function requireService(
  { network, networks }: Pick<Shared, 'network' | 'networks'>,
  { name, project, spec }: Pick<Instance, 'name' | 'project' | 'spec'>,
): void {
  const why =
    network.driver === 'bridge' ? whyNoWay(networks, project, spec.nics) : 'there is none without root';
  if (why === undefined) return;
  throw new WirtError(
    'network.unsupported',
    `Instance ${name} is to be set up by the metadata service, and ${why}.`,
    {
      hint: 'Let it have a seed: `--cloud-init seed`.',
    },
  );
}

/** One card by which the service is reached is enough. What is not there yet is made on first use, and is a network of ours. */
function whyNoWay(networks: Shared['networks'], project: string, nics: readonly Nic[]): string | undefined {
  const specs = nics.map(({ network }) => networks.find(network, project)?.spec);
  const own = specs.filter((spec) => spec?.kind !== 'bridged');
  if (own.length === 0) return 'there is none on a network of kind bridged';
  // In IPv6 only a default route leads to it, which an isolated network has not.
  const isReached = own.some((spec) => spec?.kind !== 'isolated' || typeof spec.ipv4 === 'string');
  return isReached ? undefined : 'an isolated network without IPv4 has no route to it';
}

/** Follows the records themselves, so that it misses no change whoever makes it. */
async function* endpoints(store: Store, signal: AbortSignal): AsyncIterable<readonly MetadataEndpoint[]> {
  const since = await store.revision();
  const known = new Map<string, MetadataEndpoint[]>();
  for await (const { key, value } of listAll(store, prefix)) known.set(key, endpointsOf(value));
  let told = [...known.values()].flat();
  yield told;
  for await (const { key, value } of store.watch(prefix, { since, signal })) {
    if (value === undefined) known.delete(key);
    else known.set(key, endpointsOf(value));
    const now = [...known.values()].flat();
    if (JSON.stringify(now) === JSON.stringify(told)) continue;
    told = now;
    yield told;
  }
}

function endpointsOf(value: Json): MetadataEndpoint[] {
  const { id, spec, status } = networkSchema.omit({ revision: true }).parse(value);
  if (status.driver !== 'bridge' || spec.kind === 'bridged') return [];
  return status.gateways.map((address) => ({ network: id, address, port }));
}

/** The addresses of cards are in the records as `canonicalAddress` writes them. */
function has(
  { networks }: MetadataParts,
  { spec, project }: Instance,
  home: Network,
  address: string,
): boolean {
  return spec.nics.some(
    ({ network, ipv4, ipv6 }) =>
      (ipv4 === address || ipv6 === address) && networks.find(network, project)?.id === home.id,
  );
}

function guestOf(parts: MetadataParts, instance: Instance): MetadataGuest {
  const { id, spec } = instance;
  const hasUserData = spec.cloudInit?.userData === true;
  return {
    id,
    enabled: spec.metadata.enabled,
    tokens: spec.metadata.tokens,
    hasUserData,
    at: (names) => {
      const image = spec.image === undefined ? undefined : parts.images.find(spec.image, instance.project);
      const tree = metadataTree({ instance, imageId: image?.id, cards: cardsOf(parts, instance) });
      const node = nodeAt(tree, names);
      if (typeof node === 'string') return { text: node, isFolder: false };
      return node === undefined ? undefined : { text: node.listing, isFolder: true };
    },
    userData: async () => (hasUserData ? parts.seeds.userData(id) : undefined),
  };
}

function cardsOf({ networks, groups }: MetadataParts, { spec, project }: Instance): MetadataCard[] {
  return spec.nics
    .toSorted((a, b) => a.slot - b.slot)
    .flatMap((nic) => {
      const network = networks.find(nic.network, project);
      const found = nic.securityGroups.flatMap((name) => groups.find(name, project) ?? []);
      return network === undefined ? [] : [{ nic, network, groups: found }];
    });
}
