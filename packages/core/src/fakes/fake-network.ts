/** The host's networking in memory, for tests of actions: what was applied can be looked at, and it fails when a test says so. */
import { WirtError } from '@wirt/api';
import { emptyNetworkPlan, type NetworkPlan, type PlannedNetwork } from '../domain/network-plan.ts';
import type {
  HostInterface,
  HostRoute,
  NetworkDriver,
  NetworkProbe,
  ObservedNetwork,
  Repaired,
} from '../ports/network.ts';

export interface FakeNetwork extends NetworkDriver {
  driver: 'bridge' | 'user';
  /** What was applied last, as far as it could be. */
  plan: NetworkPlan;
  /** How often it was applied. */
  turns: number;
  /** Awaited at the beginning of each turn. */
  pause: () => Promise<void>;
  /** Awaited when the ports are there, before they are filtered; what it throws is thrown. */
  filter: () => Promise<void>;
  /** Ids of networks that cannot be made; `all` for all of them, without saying which. */
  readonly broken: Set<string>;
  readonly hostRoutes: HostRoute[];
  readonly hostInterfaces: HostInterface[];
  /** By `tcp/80`, at every address, or `tcp/80@10.0.0.1`: who listens. */
  readonly listeners: Map<string, string>;
  refusal: { readonly why: string; readonly hint: string } | undefined;
  floatingRefusal: { readonly why: string; readonly hint: string } | undefined;
  observed: ObservedNetwork;
  /** Somebody else has taken the rates of this port away: `instance/nic`. */
  readonly unlimited: Set<string>;
  limitsRefusal: { readonly why: string; readonly hint: string } | undefined;
  readonly probes: NetworkProbe[];
  /** Awaited by each probe. */
  pauseProbe: () => Promise<void>;
  probePasses: boolean;
  /** Somebody else has changed something, and it was mended. */
  repair(repaired: Repaired): void;
  /** Whoever listens is gone. */
  deafen(): void;
}

export function createFakeNetwork(): FakeNetwork {
  const repairs = new Set<(repaired: Repaired) => void>();
  const fails = (ids: readonly string[]): WirtError =>
    new WirtError('network.failed', 'The network cannot be made.', {
      cause: 'RTNETLINK answers: No such device',
      ...(fake.broken.has('all') ? {} : { details: { networks: ids } }),
    });
  const fake: FakeNetwork = {
    driver: 'bridge',
    plan: emptyNetworkPlan,
    turns: 0,
    pause: () => Promise.resolve(),
    filter: () => Promise.resolve(),
    broken: new Set(),
    hostRoutes: [],
    hostInterfaces: [],
    listeners: new Map(),
    refusal: undefined,
    floatingRefusal: undefined,
    observed: { ports: [], rules: [] },
    unlimited: new Set(),
    limitsRefusal: undefined,
    probes: [],
    pauseProbe: () => Promise.resolve(),
    probePasses: true,
    unusable: () => Promise.resolve(undefined),
    refuses: () => Promise.resolve(fake.refusal),
    routes: () => Promise.resolve([...fake.hostRoutes]),
    interfaces: () => Promise.resolve([...fake.hostInterfaces]),
    listener: (protocol, port, address, besides = []) => {
      const here = [...fake.listeners].find(([key]) => {
        const [where, at] = key.split('@');
        if (where !== `${protocol}/${port}`) return false;
        return at === undefined || (!besides.includes(at) && (address === undefined || address === at));
      });
      return Promise.resolve(here?.[1]);
    },
    floatingRefused: () => Promise.resolve(fake.floatingRefusal),
    apply: async (plan, _signal, onPorts) => {
      fake.turns += 1;
      fake.unlimited.clear();
      await fake.pause();
      const isBroken = ({ id }: PlannedNetwork): boolean => fake.broken.has(id) || fake.broken.has('all');
      const broken = plan.networks.filter(isBroken).map(({ id }) => id);
      fake.plan = {
        ...plan,
        networks: plan.networks.filter(({ id }) => !broken.includes(id)),
        ports: plan.ports.filter(({ network }) => !broken.includes(network)),
      };
      if (broken.length > 0) throw fails(broken);
      onPorts?.();
      await fake.filter();
    },
    backend: ({ instance, nic }) => {
      const port = fake.plan.ports.find((one) => one.instance === instance && one.nic === nic);
      if (port === undefined) throw new WirtError('internal', `There is no port of ${instance}/${nic}.`);
      return fake.driver === 'user'
        ? { type: 'user', hostname: port.hostname, forwards: port.publish }
        : { type: 'tap', interface: `wt${nic}`, queues: port.queues, vhost: false };
    },
    interfaceOf: (network) =>
      fake.driver === 'bridge' && fake.plan.networks.some(({ id }) => id === network) ? 'wbfake' : undefined,
    limits: async () =>
      new Map(
        fake.plan.ports.map(({ instance, nic, limits = {} }) => {
          const key = `${instance}/${nic}`;
          return [key, fake.unlimited.has(key) ? {} : limits];
        }),
      ),
    refusesLimits: () => fake.limitsRefusal,
    counters: () => new Map(),
    observe: () => Promise.resolve(fake.observed),
    onRepair: (listener) => {
      repairs.add(listener);
      return () => repairs.delete(listener);
    },
    probe: async (probe) => {
      fake.probes.push(probe);
      await fake.pauseProbe();
      return { passes: fake.probePasses, why: 'A SYN was sent.' };
    },
    close: () => Promise.resolve(),
    repair: (repaired) => {
      for (const listener of repairs) listener(repaired);
    },
    deafen: () => repairs.clear(),
  };
  return fake;
}
