/** For tests: a driver that works in a network namespace, as if it were here. It is a process, and can be killed like the daemon. */
import type { NicLimits } from '@wirt/api';
import type { NetworkDriver, NetworkPlan, NicBackend, PortCounters, Repaired } from '@wirt/core';
import type { CallServer, TestNetns } from '../../platform/netns.fixture.ts';

export interface RemoteDriver extends NetworkDriver, AsyncDisposable {
  readonly logged: {
    readonly level: string;
    readonly name: string;
    readonly fields: Record<string, unknown>;
  }[];
  /** How long the last apply took, without the way there. */
  readonly lastApplyMs: number;
  /** As `apply`, and does not wait for its end. */
  begin(plan: NetworkPlan): void;
  /** Reads what `counters` says from then on. Returns how long that took, in there. */
  countNow(): Promise<number>;
  /** As the daemon dies by `kill -9`. */
  kill(): Promise<void>;
}

export interface RemoteDriverOptions {
  readonly tag: string;
  readonly runDirectory: string;
  readonly stateDirectory: string;
  readonly resolvConf?: string;
}

export async function startDriver(netns: TestNetns, options: RemoteDriverOptions): Promise<RemoteDriver> {
  const { tag, runDirectory, stateDirectory, resolvConf = '/etc/resolv.conf' } = options;
  const module = new URL('./driver.fixture.ts', import.meta.url);
  const server: CallServer = await netns.startInside(module, tag, runDirectory, stateDirectory, resolvConf);
  const logged: RemoteDriver['logged'] = [];
  const listeners = new Set<(repaired: Repaired) => void>();
  server.onEvent(({ name, value }) => {
    if (name === 'log') logged.push(value as RemoteDriver['logged'][number]);
    if (name === 'repaired') for (const listener of listeners) listener(value as Repaired);
  });
  const backends = new Map<string, NicBackend>();
  const interfaces = new Map<string, string>();
  let lastApplyMs = 0;
  let refusal: ReturnType<NetworkDriver['refusesLimits']>;
  let counters: ReadonlyMap<string, PortCounters> = new Map();

  async function countNow(): Promise<number> {
    const counted = await server.call<{ tookMs: number; counters: [string, PortCounters][] }>('counters');
    counters = new Map(counted.counters);
    return counted.tookMs;
  }
  async function learn(plan: NetworkPlan): Promise<void> {
    backends.clear();
    interfaces.clear();
    const found = await server.call<(NicBackend | undefined)[]>('backends', [plan]);
    for (const [at, { instance, nic }] of plan.ports.entries()) {
      const backend = found[at];
      if (backend !== undefined) backends.set(`${instance} ${nic}`, backend);
    }
    refusal = (await server.call<typeof refusal>('refusesLimits')) ?? undefined;
    await countNow();
    const names = await server.call<(string | undefined)[]>('interfaces', [plan]);
    for (const [at, { id }] of plan.networks.entries()) {
      const name = names[at];
      if (name !== undefined) interfaces.set(id, name);
    }
  }

  return {
    driver: 'bridge',
    logged,
    get lastApplyMs() {
      return lastApplyMs;
    },
    unusable: async () => await server.call('unusable'),
    refuses: async (network) => await server.call('refuses', [network]),
    routes: async () => await server.call('routes'),
    interfaces: async () => await server.call('hostInterfaces'),
    floatingRefused: async (address) => await server.call('floatingRefused', [address]),
    listener: async (...args) => await server.call('listener', args),
    async apply(plan, signal) {
      try {
        lastApplyMs = await server.call<number>('apply', [plan], signal);
      } finally {
        await learn(plan);
      }
    },
    begin(plan) {
      server.call('apply', [plan]).catch(() => undefined);
    },
    backend({ instance, nic }) {
      const backend = backends.get(`${instance} ${nic}`);
      if (backend === undefined) throw new Error(`no card ${nic} of ${instance}`);
      return backend;
    },
    interfaceOf: (network) => interfaces.get(network),
    observe: async (network, signal) => await server.call('observe', [network], signal),
    probe: async (probe, signal) => await server.call('probe', [probe], signal),
    limits: async (signal) => new Map(await server.call<[string, NicLimits][]>('limits', [], signal)),
    refusesLimits: () => refusal,
    counters: () => counters,
    countNow,
    onRepair(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    close: async () => await server.call('close'),
    kill: () => server.kill(),
    [Symbol.asyncDispose]: () => server.kill(),
  };
}
