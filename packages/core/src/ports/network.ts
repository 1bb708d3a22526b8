/**
 * The host's networking. It is told all that should be, makes the host so, and keeps it so: what somebody else changes is mended.
 * Knows no records and no operations; what it makes on the host carries the daemon's tag and is found again by it.
 */
import type { NicCounters, NicLimits } from '@wirt/api';
import type { NetworkPlan, NicBackend, PlannedNetwork, PlannedPort } from '../domain/network-plan.ts';

/** A subnet that the host reaches without us. */
export interface HostRoute {
  /** In CIDR notation; a default route is none of these. */
  readonly subnet: string;
  readonly interface: string;
}

/** An interface of the host, whoever made it. */
export interface HostInterface {
  readonly name: string;
  readonly mac?: string;
  /** Without prefix lengths. */
  readonly addresses: readonly string[];
}

export interface ObservedPort {
  readonly instance: string;
  readonly nic: string;
  /** The interface on the host. This and the numbers are left out where the driver does not know them. */
  readonly interface?: string;
  readonly leases: readonly { readonly address: string; readonly untilMs?: number }[];
  readonly counters?: NicCounters;
  readonly spoofed?: number;
}

/** Somebody else's chain on the host that drops what this driver lets pass. */
export interface ShadowingChain {
  /** Family and name, as `ip filter`. */
  readonly table: string;
  readonly why: string;
  /** What lets the network pass there. */
  readonly hint: string;
}

export interface ObservedNetwork {
  readonly ports: readonly ObservedPort[];
  readonly rules: readonly {
    readonly group: string;
    readonly rule: string;
    readonly packets: number;
    readonly bytes: number;
  }[];
  /** Left out where there are none, or where they do not matter to the driver. */
  readonly shadows?: readonly ShadowingChain[];
}

/** Of a port since it was made; ingress is towards the guest. */
export interface PortCounters {
  readonly ingressBytes: number;
  readonly egressBytes: number;
  readonly ingressPackets: number;
  readonly egressPackets: number;
  readonly ingressDropped: number;
  readonly egressDropped: number;
}

/** What somebody else had changed, and was mended. `network` where it was of one network alone. */
export interface Repaired {
  readonly network?: string;
  readonly what: string;
}

export interface NetworkDriver {
  readonly driver: 'bridge' | 'user';
  /** Why it cannot be used on this host, with the next step as a hint; undefined when it can. */
  unusable(): Promise<{ readonly why: string; readonly hint: string } | undefined>;
  /**
   * Why this host cannot have this network (a kind, a tag, an interface that is in use); undefined when it can. Subnets are
   * compared with `routes` by who asks.
   */
  refuses(network: PlannedNetwork): Promise<{ readonly why: string; readonly hint: string } | undefined>;
  /** Subnets that the host has routes to, but through what this driver made. */
  routes(): Promise<HostRoute[]>;
  /** All that the host has; none where guests share no wire with them. */
  interfaces(): Promise<HostInterface[]>;
  /** Who of the host listens on a port: a sentence; undefined when nobody does. Who listens at one of the addresses `besides` does not count. */
  listener(
    protocol: 'tcp' | 'udp',
    port: number,
    address?: string,
    besides?: readonly string[],
  ): Promise<string | undefined>;
  /**
   * Why the host cannot stand in for this address (its own, its router's, one that it is not on a wire with); undefined when it can. Asked before
   * the address is in a plan.
   */
  floatingRefused(address: string): Promise<{ readonly why: string; readonly hint: string } | undefined>;
  /**
   * Makes the host as planned, and takes away what this driver made and the plan has no more. In force when it returns. The same again
   * costs next to nothing; one call at a time. Throws `network.failed` (with the tool's own words as cause); then what could be made is made, and
   * the next call goes on. The error's `details.networks` and `details.instances` are ids of what it concerns; without them, it is everything.
   * `onPorts` may be called before that, when all ports are there for QEMU to open, while what filters them is not in force yet.
   */
  apply(plan: NetworkPlan, signal: AbortSignal, onPorts?: () => void): Promise<void>;
  /** How QEMU is connected to a port of the plan that was applied last. */
  backend(port: Pick<PlannedPort, 'instance' | 'nic'>): NicBackend;
  /** The interface on the host by which a network of the plan is found; undefined where there is none. */
  interfaceOf(network: string): string | undefined;
  /** Leases and counters of one network. */
  observe(network: string, signal: AbortSignal): Promise<ObservedNetwork>;
  /** The rates of every port of the plan as the kernel has them now, in one pass: key `instance/nic`. A port that has none is in it as {}. */
  limits(signal: AbortSignal): Promise<ReadonlyMap<string, NicLimits>>;
  /** Why this driver cannot keep rates, with the next step as a hint; undefined when it can. */
  refusesLimits(): { readonly why: string; readonly hint: string } | undefined;
  /** Counters of every port of the plan in one cheap pass, synchronous: key `instance/nic`. Empty where the driver does not know them. */
  counters(): ReadonlyMap<string, PortCounters>;
  /** Called after something that somebody else had changed was mended. Returns the unsubscribe. */
  onRepair(listener: (repaired: Repaired) => void): () => void;
  /**
   * Sends a packet from a port of its own on `from`'s network that has `from`'s groups, and tells what came of it. Throws
   * `network.unsupported` where there is none.
   */
  probe(
    probe: NetworkProbe,
    signal: AbortSignal,
  ): Promise<{ readonly passes: boolean; readonly why: string }>;
  /** Ends watching and mending; what was made stays as it is. */
  close(): Promise<void>;
}

export interface NetworkProbe {
  readonly network: string;
  /** Ids. */
  readonly groups: readonly string[];
  /** An address of the network that nobody has. */
  readonly from: string;
  readonly to: string;
  readonly protocol: 'tcp' | 'udp' | 'icmp';
  readonly port?: number;
}
