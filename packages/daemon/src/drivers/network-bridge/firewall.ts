// The host's packet filter for Wirt's networks: two nftables tables, `wirt_<tag>` in the families inet and bridge, that say what the plan says
// and nothing else. Every change is one transaction; tables of others are read (`shadows`) and never written.
import { causeText } from '@wirt/api';
import type { Logger, NetworkPlan } from '@wirt/core';
import { filterTable } from './firewall-filter.ts';
import { counterOf } from './firewall-groups.ts';
import { guardTable, spoofedSet } from './firewall-guard.ts';
import { readPacketRates } from './firewall-rates.ts';
import { findShadows, type Shadow } from './firewall-shadows.ts';
import { type FirewallView, viewOf } from './firewall-view.ts';
import { createNft, isMissing } from './nft.ts';
import { parseCounters, parseElementCounters } from './nft-counters.ts';
import {
  type ExpectedListing,
  expectedListing,
  type Listing,
  listingDiffers,
  listingFits,
  parseListing,
  sampleOf,
} from './nft-listing.ts';
import { changeScript, type NftTable, removeScript, replaceScript } from './nft-table.ts';
import { idWord } from './nft-words.ts';
import type { PacketRates } from './rate-readback.ts';

export interface FirewallSettings {
  /** Short id of the daemon: letters, digits, `_`. */
  readonly tag: string;
  /** Interface name of a network's bridge, by the network's id. */
  bridgeName(network: string): string;
  /** Interface name of a port's tap. */
  portName(port: { readonly instance: string; readonly nic: string }): string;
  readonly logger: Logger;
  /** What runs nft, and its first arguments: another network namespace needs more. Default: `nft`. */
  readonly command?: readonly [string, ...string[]];
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
  /** Packets a second by port interface, as the kernel has them; asks it only where there are any, or may be. */
  packetRates(signal: AbortSignal): Promise<PacketRates>;
  /** Takes both tables away; nothing there is fine. */
  remove(signal: AbortSignal): Promise<void>;
  /** Chains of others, at the hooks forward and input, that drop what our guests send. `of`: bridges; default: all. */
  shadows(signal: AbortSignal, of?: readonly string[]): Promise<readonly Shadow[]>;
}

/** What was applied last, and how the kernel has to list it: found out at the first look, apart from what the kernel has then. */
interface Applied {
  readonly tables: readonly NftTable[];
  /** Name of the group of each rule, by the name of the rule's counter. */
  rules: ReadonlyMap<string, { readonly group: string; readonly rule: string }>;
  expected?: readonly ExpectedListing[];
}

export function createFirewall(settings: FirewallSettings): Firewall {
  const name = `wirt_${idWord(settings.tag)}`;
  const families = ['inet', 'bridge'] as const;
  const nft = createNft(settings.command);
  let applied: Applied | undefined;
  let last: FirewallView | undefined;
  let bridges: readonly string[] = [];
  let unrehearsed = false;

  const list = async (signal: AbortSignal): Promise<Listing[]> =>
    await Promise.all(
      families.map(async (family) =>
        parseListing(
          await nft.run(['-s', 'list', 'table', family, name], `list table ${family} ${name}`, signal),
        ),
      ),
    );

  const firewall: Firewall = {
    async apply(plan, facts, signal) {
      const view = viewOf(plan, facts.uplinks, settings, last);
      last = view;
      const tables = [filterTable(name, view), guardTable(name, view)];
      const before = applied?.tables;
      const script =
        before === undefined
          ? tables.map(replaceScript).join('')
          : tables.map((table, at) => changeScript(before[at] ?? table, table)).join('');
      bridges = plan.networks.map(({ id }) => settings.bridgeName(id));
      const rules = rulesOf(view);
      if (script === '' && applied !== undefined) {
        applied.rules = rules;
        return;
      }
      // Until the transaction's end is known, nobody knows what the kernel has.
      applied = undefined;
      await commit(script, before === undefined ? undefined : tables, signal);
      applied = { tables, rules };
    },
    async differs(signal) {
      const now = applied;
      if (now === undefined) return `table ${name} is not applied`;
      let found: Listing[];
      let expected: readonly ExpectedListing[] | undefined;
      try {
        [found, expected] = await Promise.all([list(signal), now.expected ?? expectedOf(now.tables, signal)]);
      } catch (error) {
        if (isMissing(error)) return `table ${name} is gone`;
        throw error;
      }
      const [said] = now.tables.flatMap((table, at) => {
        const listing = found[at] ?? new Map();
        const wanted = expected?.[at];
        const why = wanted === undefined ? listingFits(table, listing) : listingDiffers(wanted, listing);
        return why === undefined ? [] : [`in table ${table.family} ${name}, ${why}`];
      });
      if (expected !== undefined) now.expected = expected;
      return said;
    },
    forget() {
      applied = undefined;
    },
    async observe(signal) {
      const rules = applied?.rules;
      if (rules === undefined) return { rules: [], spoofed: new Map() };
      const [counters, spoofed] = await Promise.all([
        nft.run(['-j', 'list', 'counters', 'table', 'inet', name], 'list the counters of rules', signal),
        nft.run(['-j', 'list', 'set', 'bridge', name, spoofedSet], 'list the counters of ports', signal),
      ]);
      return {
        rules: parseCounters(counters).flatMap(({ name: counter, packets, bytes }) => {
          const rule = rules.get(counter);
          return rule === undefined ? [] : [{ ...rule, packets, bytes }];
        }),
        spoofed: parseElementCounters(spoofed),
      };
    },
    async packetRates(signal) {
      const guard = applied?.tables.find(({ family }) => family === 'bridge');
      return await readPacketRates(nft, name, guard, signal);
    },
    async remove(signal) {
      applied = undefined;
      const script = families.map((family) => removeScript({ family, name })).join('');
      await nft.script(script, `remove table ${name}`, signal);
    },
    async shadows(signal, of = bridges) {
      const text = await nft.run(['-j', '-t', 'list', 'ruleset'], 'list the rules of others', signal);
      return findShadows(text, of, name);
    },
  };

  /** Undefined where it cannot be found out: then names and numbers are compared. */
  async function expectedOf(
    tables: readonly NftTable[],
    signal: AbortSignal,
  ): Promise<readonly ExpectedListing[] | undefined> {
    const script = tables.map((table) => replaceScript(sampleOf(table))).join('');
    try {
      const listed = await nft.rehearse(script, families, name, signal);
      return tables.map((table, at) => expectedListing(table, parseListing(listed[at] ?? '')));
    } catch (error) {
      if (!signal.aborted && !unrehearsed) settings.logger.warn('firewall.not_rehearsed', { error });
      unrehearsed = true;
      return undefined;
    }
  }

  /** `whole`: when a change is refused, somebody may have changed what it builds on; then all is replaced. */
  async function commit(
    script: string,
    whole: readonly NftTable[] | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    try {
      await nft.script(script, `change table ${name}`, signal);
    } catch (error) {
      if (whole === undefined || signal.aborted) throw error;
      settings.logger.warn('firewall.replaced', { table: name, why: causeText(error) });
      await nft.script(whole.map(replaceScript).join(''), `replace table ${name}`, signal);
    }
  }

  return firewall;
}

function rulesOf({ groups }: FirewallView): Applied['rules'] {
  return new Map(
    [...groups.values()].flatMap(({ name, rules }) =>
      rules.map(({ id }) => [counterOf(id), { group: name, rule: id }] as const),
    ),
  );
}
