/**
 * The host's kernel and servers, made as a plan says. Remembers what it made, so that the next plan costs only what differs; what is not
 * known for sure any more is read anew. One call at a time.
 */
import type { WirtError } from '@wirt/api';
import type { Logger, NetworkPlan, PlannedPort, Repaired } from '@wirt/core';
import { bridgeSettings, mendBridgeSettings, wrongBridgeSettings } from './bridge-settings.ts';
import type { Firewall } from './firewall.ts';
import type { FloatingAddresses } from './floating.ts';
import { isForwarding, neededForwarding, putBackForwarding, setForwarding } from './forwarding.ts';
import type { HostSettings } from './host-settings.ts';
import { asFailure, linkErrors, repairsOf } from './host-words.ts';
import { changeLinks, type FailedChange, readLinks } from './ip.ts';
import { type LinkChanges, linkChanges } from './link-diff.ts';
import type { LinkState } from './link-state.ts';
import { type DesiredLinks, desiredLinks, stateOf } from './links.ts';
import type { HostNames } from './names.ts';
import { sweepProbes } from './probe.ts';
import { createQueueing, type Queueing } from './queueing.ts';
import type { Servers } from './servers.ts';
import type { Shaping, ShapingChange } from './shaping.ts';

export interface HostParts {
  readonly names: HostNames;
  readonly firewall: Firewall;
  readonly servers: Servers;
  readonly settings: HostSettings;
  readonly floating: FloatingAddresses;
  readonly shaping: Shaping;
  readonly logger: Logger;
}

export interface Host {
  /**
   * `guests`: ports whose interfaces are somebody else's making. `onPorts` is called when all interfaces are there. Returns what could not be
   * made; the rest is made.
   */
  make(
    plan: NetworkPlan,
    guests: readonly PlannedPort[],
    signal: AbortSignal,
    onPorts?: () => void,
  ): Promise<WirtError[]>;
  /** Whether the host is not as it was made. While `make` works, the answer means nothing. */
  differs(signal: AbortSignal): Promise<boolean>;
  /** The same, of what the kernel tells nobody about: cheap. */
  settingsDiffer(): Promise<boolean>;
  /** Reads the host, and mends what is not as it was made. Returns what that was. */
  mend(signal: AbortSignal): Promise<Repaired[]>;
  /** What should be, by name. */
  expected(): ReadonlyMap<string, LinkState>;
  /** Ends what nobody waited for. */
  settle(): Promise<void>;
}

interface Made {
  readonly plan: NetworkPlan;
  readonly guests: readonly PlannedPort[];
  readonly desired: DesiredLinks;
  readonly expected: ReadonlyMap<string, LinkState>;
}

/** What came of making it. */
interface Outcome {
  readonly errors: readonly WirtError[];
  readonly failed: readonly FailedChange[];
  readonly filterError: WirtError | undefined;
}

export function createHost(parts: HostParts): Host {
  const { names, firewall, servers, settings, floating, shaping, logger } = parts;
  let made: Made | undefined;
  /** What the kernel has; undefined when that is not known. */
  let actual: ReadonlyMap<string, LinkState> | undefined;
  const filter = createFilter(firewall);
  const work: HostWork = { ...parts, queueing: createQueueing(logger) };
  /** What the host forwards for us, as it was last seen to. */
  let forwardingSet = '';
  /** What is wrong with bridges and could not be set, as where /proc/sys is read-only. */
  let unsettable = '[]';

  /** Whether there is an uplink that nothing is known of. */
  const hasNewUplink = ({ networks }: NetworkPlan): boolean =>
    networks.some(({ id, kind }) => kind === 'bridged' && made?.desired.uplinks.get(id) === undefined);

  async function make(
    plan: NetworkPlan,
    guests: readonly PlannedPort[],
    signal: AbortSignal,
    onPorts?: () => void,
  ): Promise<Outcome> {
    const startedMs = performance.now();
    if (made === undefined) await takeOver(plan, names.tag, servers);
    if (actual === undefined || hasNewUplink(plan)) actual = await readLinks(signal);
    const before = actual;
    const desired = desiredLinks(plan, names, before);
    const expected = new Map([...desired.links.values()].map((link) => [link.name, stateOf(link)]));
    made = { plan, guests, desired, expected };
    // Until all is done, nothing is known for sure.
    actual = undefined;
    const sound = withoutFloating(withBridges(plan, desired, names), await floating.check(plan, signal));
    const changes = linkChanges(desired.links, before, names, namesOf(guests));
    const rates = await shaping.begin(plan.ports, desired.links, signal);
    const timings: Record<string, number> = { planMs: performance.now() - startedMs };
    const timed = async <T>(name: string, work: Promise<T>): Promise<T> => {
      const fromMs = performance.now();
      const result = await work;
      timings[name] = performance.now() - fromMs;
      return result;
    };
    const [failed, filterError] = await Promise.all([
      timed('linksMs', changeHost(changes, rates, plan, work)).then((missed) => {
        if (missed.length === 0 && desired.refused.length === 0) onPorts?.();
        return missed;
      }),
      timed(
        'filterMs',
        filter.apply(sound, guests, desired, signal).then(() => undefined, asFailure),
      ),
      timed('serversMs', servers.update(sound)),
    ]);
    const errors = [
      ...desired.refused.map(({ error }) => error),
      ...(filterError === undefined ? [] : [filterError]),
      ...linkErrors(failed, plan),
      ...(await floating.apply(plan, signal)),
    ];
    // A host that passes packets on without a filter is worse than one that does not.
    const needs = JSON.stringify(neededForwarding(plan));
    if (filterError === undefined && needs !== forwardingSet) {
      await setForwarding(plan, settings);
      await putBackForwarding(plan, settings, othersForward(names));
      forwardingSet = needs;
    }
    const broken = new Set(failed.flatMap(({ change }) => change.network ?? []));
    errors.push(...(await servers.start(sound, new Set(changes.bridgesMade), broken)));
    logger.debug('network.applied', { ...timings, totalMs: performance.now() - startedMs });
    if (failed.length === 0) actual = new Map([...foreign(before, names), ...expected]);
    return { errors, failed, filterError };
  }
  const settingsDiffer = async (): Promise<boolean> => {
    if (made === undefined) return false;
    const wrong = JSON.stringify(await wrongBridgeSettings(made.plan, names, settings));
    return (wrong !== '[]' && wrong !== unsettable) || !(await isForwarding(made.plan, settings));
  };

  const whatDiffers = (now: ReadonlyMap<string, LinkState>, signal: AbortSignal) =>
    Promise.all([filter.differs(signal), floating.missing(now), shaping.differing(signal)]);

  const namesOf = (ports: readonly PlannedPort[]): Set<string> =>
    new Set(ports.map((port) => names.port(port)));

  return {
    make: async (...asked) => [...(await make(...asked)).errors],
    settingsDiffer,
    expected: () => made?.expected ?? new Map(),
    settle: work.queueing.settle,
    async differs(signal) {
      if (made === undefined) return false;
      const { desired, guests } = made;
      const now = await readLinks(signal);
      const [rules, lost, rates] = await whatDiffers(now, signal);
      const { links, last } = linkChanges(desired.links, now, names, namesOf(guests));
      const wrong = lost.length + links.length + last.length + rates.length;
      return rules !== undefined || wrong > 0 || (await settingsDiffer());
    },
    async mend(signal) {
      if (made === undefined) return [];
      const { plan, guests, desired } = made;
      const now = await readLinks(signal);
      const changes = linkChanges(desired.links, now, names, namesOf(guests));
      const [rules, lost, rates] = await whatDiffers(now, signal);
      const forwarding = await setForwarding(plan, settings);
      // Before the links: a bridge with IPv6 switched off takes no address.
      const set = await mendBridgeSettings(await wrongBridgeSettings(plan, names, settings), settings);
      unsettable = JSON.stringify(await wrongBridgeSettings(plan, names, settings));
      const wrong = [...changes.links, ...changes.last, ...rates];
      const simple = [...set, ...forwarding.map((what) => ({ what }))];
      if (rules === undefined && lost.length + wrong.length === 0) return simple;
      if (rules !== undefined) firewall.forget();
      if (rates.length > 0) shaping.forget();
      actual = now;
      const { errors, failed, filterError } = await make(plan, guests, signal);
      for (const error of errors) logger.warn('network.not_mended', { error });
      // What nobody could mend was not mended: it is said when it is, and all else now.
      const failedLines = new Set(failed.map(({ change }) => change.line));
      const stillLost = new Set(lost.length === 0 ? [] : await floating.missing(await readLinks(signal)));
      return [
        ...repairsOf(wrong.filter(({ line }) => !failedLines.has(line))),
        ...(rules === undefined || filterError !== undefined ? [] : [{ what: rules }]),
        ...lost
          .filter((address) => !stillLost.has(address))
          .map((address) => ({ what: `the floating address ${address} was not there` })),
        ...simple,
      ];
    },
  };
}

/** Without the networks that cannot be. */
function withBridges(plan: NetworkPlan, { links, refused }: DesiredLinks, names: HostNames): NetworkPlan {
  if (refused.length === 0) return plan;
  const isThere = (network: string): boolean => links.has(names.bridge(network));
  return {
    ...plan,
    networks: plan.networks.filter(({ id }) => isThere(id)),
    ports: plan.ports.filter(({ network }) => isThere(network)),
  };
}

/** Nor is translated what belongs to somebody else. */
function withoutFloating(plan: NetworkPlan, refused: ReadonlyMap<string, unknown>): NetworkPlan {
  if (refused.size === 0) return plan;
  const ports = plan.ports.map((port) => {
    const { floating, ...rest } = port;
    return floating !== undefined && refused.has(floating) ? rest : port;
  });
  return { ...plan, ports };
}

/** Without networks there is nothing to filter, and no table is left. */
function createFilter(firewall: Firewall) {
  /** Whether there are tables of ours; unknown at first. */
  let isThere: boolean | undefined;
  return {
    async apply(
      plan: NetworkPlan,
      guests: readonly PlannedPort[],
      { uplinks }: DesiredLinks,
      signal: AbortSignal,
    ): Promise<void> {
      if (plan.networks.length === 0) {
        if (isThere !== false) await firewall.remove(signal);
        isThere = false;
        return;
      }
      isThere = true;
      const ports = guests.length === 0 ? plan.ports : [...plan.ports, ...guests];
      await firewall.apply({ ...plan, ports }, { uplinks: [...uplinks.values()] }, signal);
    },
    differs: async (signal: AbortSignal): Promise<string | undefined> =>
      isThere ? await firewall.differs(signal) : undefined,
  };
}

async function takeOver(plan: NetworkPlan, tag: string, servers: Servers): Promise<void> {
  await Promise.all([servers.takeOver(plan), sweepProbes(tag)]);
}

interface HostWork extends HostParts {
  readonly queueing: Queueing;
}

async function changeHost(
  changes: LinkChanges,
  rates: ShapingChange,
  plan: NetworkPlan,
  parts: HostWork,
): Promise<FailedChange[]> {
  const loosened = await rates.loosen(changes.made);
  const changed = await changeAllLinks(changes, rates, plan, parts);
  // What is still taken from taps of before must not be the rate that they get now.
  if (rates.throttled.size > 0) await parts.queueing.settle();
  return [...loosened, ...changed, ...(await rates.tighten(changes.made))];
}

async function changeAllLinks(
  { links, queueing, last, bridgesMade }: LinkChanges,
  { throttled }: ShapingChange,
  plan: NetworkPlan,
  { names, settings, queueing: simple }: HostWork,
): Promise<FailedChange[]> {
  // What has a rate has that instead.
  const simplifyLater = (): void =>
    simple.later(queueing.filter(({ line }) => !throttled.has(line.split(' ')[3] ?? '')));
  // `tc` reads all links of the host before it does anything: one guest does not wait for that, and a thousand wait less with it.
  const few = queueing.length <= fewTaps;
  if (few && bridgesMade.length === 0) {
    const missed = await changeLinks([...links, ...last]);
    simplifyLater();
    return missed;
  }
  const failed = await changeLinks(links);
  if (!few) await simple.now(queueing);
  if (bridgesMade.length > 0) {
    const bridges = new Set(bridgesMade);
    for (const network of plan.networks) {
      const bridge = names.bridge(network.id);
      if (bridges.has(bridge)) await settings.setOwn(bridgeSettings(bridge, network));
    }
  }
  failed.push(...(await changeLinks(last)));
  if (few) simplifyLater();
  return failed;
}

const fewTaps = 8;

/** Links that are not ours, as they were read. */
function foreign(links: ReadonlyMap<string, LinkState>, names: HostNames): [string, LinkState][] {
  return [...links].filter(([, link]) => !names.isOurs(link));
}

/** Whether somebody else's bridge is there, which by now may rely on forwarding. */
const othersForward = (names: HostNames) => async (): Promise<boolean> => {
  const links = await readLinks(AbortSignal.timeout(10_000));
  return [...links.values()].some((link) => link.kind === 'bridge' && !names.isOurs(link));
};
