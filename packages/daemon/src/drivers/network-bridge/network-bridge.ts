/**
 * NetworkDriver in the host's kernel: a bridge for each network, a tap for each port, nftables, and dnsmasq. The kernel is read at the first
 * apply and when something looks wrong; otherwise only what differs from the plan before is changed. What it makes carries the
 * daemon's tag and is found again by it; taps that guests have open are never touched.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type NicLimits, WirtError } from '@wirt/api';
import {
  type Clock,
  emptyNetworkPlan,
  type Logger,
  type NetworkDriver,
  type NetworkPlan,
  type PlannedNetwork,
  type PlannedPort,
  type Repaired,
} from '@wirt/core';
import { systemClock } from '../../platform/clock.ts';
import { findListener } from '../../platform/listeners.ts';
import { createFirewall, type Firewall } from './firewall.ts';
import { createFloatingAddresses } from './floating.ts';
import { createHost } from './host.ts';
import { createHostSettings } from './host-settings.ts';
import { together } from './host-words.ts';
import { hostInterfaces } from './interfaces.ts';
import { type Mending, startMending } from './mending.ts';
import { createNames, type HostNames } from './names.ts';
import { observeNetwork } from './observe.ts';
import { createSharedRead } from './one-read.ts';
import { sendProbe } from './probe.ts';
import { limitsOf } from './rate-readback.ts';
import { createRateTrial } from './rate-refusal.ts';
import { hasRate } from './rates.ts';
import { whyRefused, whyUnusable } from './refusals.ts';
import { hostRoutes } from './routes.ts';
import { createServers } from './servers.ts';
import { createShadows } from './shadows.ts';
import { createShaping, type Shaping } from './shaping.ts';
import { countersOf } from './tap-counters.ts';
import { createTurns } from './turns.ts';

export interface BridgeNetworkOptions {
  /** Short id of this daemon; many live side by side on one host. */
  readonly tag: string;
  readonly runDirectory: string;
  readonly stateDirectory: string;
  readonly logger: Logger;
  readonly clock?: Clock;
  /** The host's list of resolvers. */
  readonly resolvConf?: string;
}

const readTimeoutMs = 10_000;
/** Who asks has a deadline of his own. */
const limitsTimeoutMs = 60_000;

export function createBridgeNetwork(options: BridgeNetworkOptions): NetworkDriver {
  const {
    tag,
    runDirectory,
    stateDirectory,
    logger,
    clock = systemClock,
    resolvConf = '/etc/resolv.conf',
  } = options;
  const names = createNames(tag);
  const listeners = new Set<(repaired: Repaired) => void>();
  const tell = (repaired: Repaired): void => {
    for (const listener of listeners) listener(repaired);
  };
  const firewall = createFirewall({ tag, bridgeName: names.bridge, portName: names.port, logger });
  const servers = createServers({ names, runDirectory, stateDirectory, resolvConf, logger, onRepair: tell });
  const settings = createHostSettings(join(runDirectory, 'network-settings.json'));
  const floating = createFloatingAddresses(join(runDirectory, 'network-floating.json'), names);
  const shaping = createShaping(names);
  const host = createHost({ names, firewall, servers, settings, floating, shaping, logger });
  const shadows = createShadows({ firewall, logger });
  const turns = createTurns();
  const closing = new AbortController();
  const probes = new Map<string, PlannedPort>();
  let plan: NetworkPlan = emptyNetworkPlan;
  let vhost = false;

  let mending: Mending | undefined;
  const trial = createRateTrial(logger);

  const limits = createSharedRead(() => readLimits(plan, { names, shaping, firewall }, closing.signal));

  async function apply(signal: AbortSignal, onPorts?: () => void): Promise<void> {
    const errors = await host.make(plan, [...probes.values()], signal, onPorts);
    for (const error of errors) logger.error('network.failed', { error });
    signal.throwIfAborted();
    if (errors.length > 0) throw together(errors);
  }

  /** Lets a port of a probe in, and out again, each by an apply of its own. */
  async function admit(port: PlannedPort, signal: AbortSignal): Promise<{ dismiss(): Promise<void> }> {
    const key = names.port(port);
    const dismiss = async (): Promise<void> => {
      probes.delete(key);
      await turns.take(() => apply(closing.signal));
    };
    probes.set(key, port);
    try {
      await turns.take(() => apply(signal));
    } catch (error) {
      // What is wrong with another network is no business of a probe; without its port it will fail and say so.
      if (signal.aborted) {
        await dismiss();
        throw error;
      }
    }
    return { dismiss };
  }

  const networkOf = (id: string): PlannedNetwork => {
    const network = plan.networks.find((each) => each.id === id);
    if (network === undefined)
      throw new WirtError('network.failed', `The network ${id} is not on this host.`);
    return network;
  };

  return {
    driver: 'bridge',
    unusable: async () => (await whyUnusable()) ?? trial.begin(),
    refuses: (network) => whyRefused(network, names),
    floatingRefused: (address) => floating.refuses(address, AbortSignal.timeout(readTimeoutMs)),
    routes: () => hostRoutes((name) => names.isOurs({ name }), AbortSignal.timeout(readTimeoutMs)),
    interfaces: () => hostInterfaces(AbortSignal.timeout(readTimeoutMs)),
    listener: findListener,
    async apply(next, signal, onPorts) {
      await turns.take(async () => {
        signal.throwIfAborted();
        if (mending === undefined) {
          trial.begin();
          vhost = await hasVhost();
          mending = startMending({
            names,
            host,
            shadows,
            turns,
            clock,
            logger,
            signal: closing.signal,
            tell,
          });
        }
        plan = next;
        if (next.ports.some(hasRate)) mending.watchRates();
        await apply(signal, onPorts);
      });
    },
    backend({ instance, nic }) {
      const port = plan.ports.find((each) => each.instance === instance && each.nic === nic);
      if (port === undefined)
        throw new WirtError('network.failed', `The card ${nic} of ${instance} has no tap on this host.`);
      return { type: 'tap', interface: names.port(port), queues: port.queues, vhost };
    },
    interfaceOf: (id) => (plan.networks.some((network) => network.id === id) ? names.bridge(id) : undefined),
    observe: (network, signal) =>
      observeNetwork(network, { plan, names, firewall, leases: servers.leasesOf(network), shadows }, signal),
    limits: (signal) => limits.read(turns.work(), signal),
    refusesLimits: trial.refusal,
    counters: () => countersOf(plan.ports, names, shaping.drops.of),
    onRepair(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    async probe(probe, signal) {
      const target = plan.ports.find(
        ({ network, ipv4, ipv6 }) => network === probe.network && (ipv4 === probe.to || ipv6 === probe.to),
      );
      const ground = { names, network: networkOf(probe.network), targetMac: target?.mac, admit };
      return await sendProbe(probe, ground, signal);
    },
    async close() {
      closing.abort();
      await Promise.all([mending?.end(), trial.ended()]);
      await turns.take(() => host.settle());
      servers.release();
    },
  };
}

async function readLimits(
  { ports }: NetworkPlan,
  at: { readonly names: HostNames; readonly shaping: Shaping; readonly firewall: Firewall },
  closing: AbortSignal,
): Promise<Map<string, NicLimits>> {
  const signal = AbortSignal.any([closing, AbortSignal.timeout(limitsTimeoutMs)]);
  const [tc, packets] = await Promise.all([at.shaping.read(signal), at.firewall.packetRates(signal)]);
  return new Map(
    ports.map((port) => [`${port.instance}/${port.nic}`, limitsOf(port, at.names, tc, packets)]),
  );
}

/**
 * Whether guests may use the kernel's own end of virtio-net. Its device opens for a group that they have (udev: `kvm`), or for all; where it
 * does not after all, QEMU goes on without it.
 */
async function hasVhost(): Promise<boolean> {
  const [device, kvm] = await Promise.all(
    ['/dev/vhost-net', '/dev/kvm'].map((path) => stat(path).catch(() => undefined)),
  );
  if (device === undefined) return false;
  return (
    (device.mode & 0o006) === 0o006 ||
    ((device.mode & 0o060) === 0o060 && device.gid !== 0 && device.gid === kvm?.gid)
  );
}
