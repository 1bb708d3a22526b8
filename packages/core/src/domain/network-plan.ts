/** What a host's networking should be, said at once: networks, the cards that are plugged in, the groups that guard them. */
import type { NetworkKind, NicLimits, PublishedPort, SecurityRule } from '@wirt/api';

/** A subnet and the host's own address in it. */
export interface PlannedSubnet {
  /** In CIDR notation, `10.80.0.0/24`. */
  readonly subnet: string;
  readonly gateway: string;
}

export interface PlannedNetwork {
  readonly id: string;
  readonly name: string;
  readonly kind: NetworkKind;
  readonly mtu: number;
  readonly ipv4?: PlannedSubnet;
  readonly ipv6?: PlannedSubnet;
  readonly uplink?: { readonly interface: string; readonly vlan?: number };
  readonly domain: string;
  readonly dnsForward: boolean;
}

/** A card of a guest that runs or is being started. */
export interface PlannedPort {
  readonly instance: string;
  /** Name of the card within the instance; both together name the port. */
  readonly nic: string;
  /** Id of the network. */
  readonly network: string;
  /** The guest finds others, and is found, by this name. */
  readonly hostname: string;
  readonly mac: string;
  readonly ipv4?: string;
  readonly ipv6?: string;
  /** Ids of groups. */
  readonly groups: readonly string[];
  readonly publish: readonly PublishedPort[];
  readonly floating?: string;
  readonly antiSpoofing: boolean;
  readonly queues: number;
  readonly mtu: number;
  /** Rates in each direction; absent or 0: none. */
  readonly limits?: NicLimits;
  /** Undefined: no metadata service for this card. */
  readonly metadataHopLimit?: number;
  /** Who may open its end on the host: the user that the guest's process runs as. */
  readonly owner: { readonly uid: number; readonly gid: number };
}

export interface PlannedGroup {
  readonly id: string;
  readonly name: string;
  /** Where another group is named, `group` is its name, and `groupId` its id. */
  readonly rules: readonly PlannedRule[];
}

export type PlannedRule = SecurityRule & { readonly groupId?: string };

export interface NetworkPlan {
  /**
   * Changes whenever something that was allowed may no longer be: connections that were let pass under another one are looked at
   * again. 1 to 4095, round.
   */
  readonly generation: number;
  readonly networks: readonly PlannedNetwork[];
  readonly ports: readonly PlannedPort[];
  readonly groups: readonly PlannedGroup[];
}

export const emptyNetworkPlan: NetworkPlan = { generation: 1, networks: [], ports: [], groups: [] };

/** How QEMU is connected to a card's end on the host. */
export type NicBackend =
  /** QEMU's own user-mode stack (slirp). */
  | {
      readonly type: 'user';
      readonly hostname: string;
      readonly forwards: readonly PublishedPort[];
    }
  /** A tap interface that is there and that its owner may open. */
  | {
      readonly type: 'tap';
      readonly interface: string;
      readonly queues: number;
      readonly vhost: boolean;
    }
  /** A Unix socket that passt serves; and by which of its options QEMU connects again, where it has one. */
  | {
      readonly type: 'stream';
      readonly path: string;
      readonly reconnect?: 'reconnect' | 'reconnect-ms';
    };
