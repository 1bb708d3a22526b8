/** For tests: the driver in a process of its own, inside a namespace. Started by `startInside`; see remote.fixture.ts for the other side. */
import type { NetworkDriver, NetworkPlan } from '@wirt/core';
import { serveCalls } from '../../platform/netns.fixture.ts';
import { createBridgeNetwork } from './network-bridge.ts';

const [tag = '', runDirectory = '', stateDirectory = '', resolvConf = ''] = process.argv.slice(2);
let event: (name: string, value: unknown) => void = () => undefined;
const log =
  (level: string) =>
  (name: string, fields: Readonly<Record<string, unknown>> = {}): void =>
    event('log', { level, name, fields: JSON.parse(JSON.stringify(fields, errorText)) as unknown });
const logger = { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') };
const driver = createBridgeNetwork({ tag, runDirectory, stateDirectory, resolvConf, logger });

function errorText(_name: string, value: unknown): unknown {
  if (!(value instanceof Error)) return value;
  return value.cause instanceof Error ? `${value.message} ${value.cause.message}` : value.message;
}

type Arguments<Method extends keyof NetworkDriver> = NetworkDriver[Method] extends (
  ...args: infer A
) => unknown
  ? A
  : never;

event = serveCalls({
  unusable: () => driver.unusable(),
  refuses: ([network]: Arguments<'refuses'>) => driver.refuses(network),
  routes: () => driver.routes(),
  hostInterfaces: () => driver.interfaces(),
  floatingRefused: ([address]: Arguments<'floatingRefused'>) => driver.floatingRefused(address),
  // What is undefined comes as null.
  listener: ([protocol, port, address, besides]: Arguments<'listener'>) =>
    driver.listener(protocol, port, address ?? undefined, besides),
  /** Says how long it took, in here, and what it says of the plan then. */
  apply: async ([plan]: readonly [NetworkPlan], signal: AbortSignal) => {
    const startedMs = performance.now();
    await driver.apply(plan, signal);
    return performance.now() - startedMs;
  },
  backends: ([plan]: readonly [NetworkPlan]) =>
    plan.ports.flatMap((port) => {
      try {
        return [driver.backend(port)];
      } catch {
        return [undefined];
      }
    }),
  interfaces: ([plan]: readonly [NetworkPlan]) => plan.networks.map(({ id }) => driver.interfaceOf(id)),
  observe: ([network]: Arguments<'observe'>, signal: AbortSignal) => driver.observe(network, signal),
  limits: async (_args: readonly unknown[], signal: AbortSignal) => [...(await driver.limits(signal))],
  refusesLimits: () => driver.refusesLimits(),
  counters: () => {
    const startedMs = performance.now();
    const counters = driver.counters();
    return { tookMs: performance.now() - startedMs, counters: [...counters] };
  },
  probe: ([probe]: Arguments<'probe'>, signal: AbortSignal) => driver.probe(probe, signal),
  close: () => driver.close(),
});
driver.onRepair((repaired) => event('repaired', repaired));
