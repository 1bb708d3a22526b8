// The host's packet filter for Wirt's networks: two nftables tables, `wirt_<tag>` in the families inet and bridge, that say what the plan says
// and nothing else. Every change is one transaction; tables of others are read (`shadows`) and never written.
import type { Logger, NetworkPlan } from '@wirt/core';

export interface FirewallSettings {
  /** Short id of the daemon: letters, digits, `_`. */
  readonly tag: string;
  /** Interface name of a network's bridge, by the network's id. */
  bridgeName(network: string): string;
  /** Interface name of a port's tap. */
  portName(port: { readonly instance: string; readonly nic: string }): string;
  readonly logger: Logger;
}

export interface FirewallFacts {
  /**
   * Ports of our bridges that lead to an uplink (kind `bridged`): the veth end, or the enslaved interface. Frames that come from there and
   * claim to be of a guest of ours are dropped.
   */
  readonly uplinks: readonly string[];
}

export interface FirewallCounters {
  /** `group` is the group's name, `rule` the rule's id. Counted once per connection that the rule let pass. */
  readonly rules: readonly {
    readonly group: string;
    readonly rule: string;
    readonly packets: number;
    readonly bytes: number;
  }[];
  /** Dropped packets that claimed to be of another, by port interface. */
  readonly spoofed: ReadonlyMap<string, number>;
}

/** A chain of somebody else that drops what ours let pass, and what to do about it. */
export interface Shadow {
  readonly table: string;
  readonly why: string;
  readonly hint: string;
}

export interface Firewall {
  /**
   * Makes the tables as the plan says, in one transaction; changes only what differs from what was applied last. The first call, and one
   * after `forget`, replaces both tables whole. Throws `network.failed` with nft's own words as cause; then nothing was changed.
   */
  apply(plan: NetworkPlan, facts: FirewallFacts, signal: AbortSignal): Promise<void>;
  /** Whether the kernel has what was applied last: a sentence about what differs, undefined when it is whole. */
  differs(signal: AbortSignal): Promise<string | undefined>;
  /** The next apply replaces all. */
  forget(): void;
  observe(signal: AbortSignal): Promise<FirewallCounters>;
  /** Takes both tables away; nothing there is fine. */
  remove(signal: AbortSignal): Promise<void>;
  /** Chains of others, at the hooks forward and input, that drop what our guests send. */
  shadows(signal: AbortSignal): Promise<readonly Shadow[]>;
}

export function createFirewall(settings: FirewallSettings): Firewall {
  throw new Error(`The firewall of ${settings.tag} is not written yet.`);
}
