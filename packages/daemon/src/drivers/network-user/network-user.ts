// Networking without root: each guest behind a user-mode stack of its own, either passt, a process beside QEMU, or slirp within QEMU.
// Nothing of it is in the host's kernel, so there is nothing to mend but a passt that was lost. Which of both: docs/decisions/0021.
import { readFile } from 'node:fs/promises';
import { causeText, WirtError } from '@wirt/api';
import type { Logger, NetworkDriver, NetworkPlan, NicBackend, PlannedPort, Repaired } from '@wirt/core';
import { findListener } from '../../platform/listeners.ts';
import { serially } from '../../platform/serial.ts';
import { asRoot, concerned, refusesNetwork, refusesPort, type Stack, samePublished } from './limits.ts';
import { createPassts, keyOf, type PortKey } from './passt.ts';
import { choosePasst, type PasstChoice, type PasstWanted } from './passt-choice.ts';
import { createPasstWatch, type Port } from './passt-watch.ts';

export interface UserNetworkOptions {
  readonly runDirectory: string;
  readonly logger: Logger;
  /** What the QEMU of guests can, by the names of the host's probe. */
  qemuFeatures(signal: AbortSignal): Promise<Readonly<Record<string, boolean>>>;
  /** `auto`: where QEMU connects again to a passt that was lost. Default. */
  readonly passt?: PasstWanted;
}

const openPortsFile = '/proc/sys/net/ipv4/ip_unprivileged_port_start';
const usualOpenPort = 1024;

/** What there is only in the host's kernel. */
const without = {
  unusable: () => Promise.resolve(undefined),
  routes: () => Promise.resolve([]),
  interfaces: () => Promise.resolve([]),
  interfaceOf: () => undefined,
  floatingRefused: () =>
    Promise.resolve({
      why: 'without root the host takes no address for a guest',
      hint: 'Publish ports instead: `--publish 8080:80`.',
    }),
  refusesLimits: () => ({
    why: 'in user mode a card has no interface on the host that could be throttled',
    hint: asRoot,
  }),
  counters: () => new Map(),
  probe: () =>
    Promise.reject(
      new WirtError('network.unsupported', 'In user mode no packet can be sent from the place of a guest.', {
        hint: 'Try it in the guest itself: `wirt exec`.',
      }),
    ),
} satisfies Partial<NetworkDriver>;

export function createUserNetwork(options: UserNetworkOptions): NetworkDriver {
  const { logger } = options;
  const passts = createPassts(options.runDirectory);
  const ports = new Map<PortKey, Port>();
  const listeners = new Set<(repaired: Repaired) => void>();
  let choice: Promise<PasstChoice> | undefined;
  const inTurn = serially();
  const chosen = (): Promise<PasstChoice> => {
    choice ??= choosePasst(options);
    choice.catch(() => {
      choice = undefined;
    });
    return choice;
  };

  const add = async (planned: PlannedPort, signal: AbortSignal): Promise<void> => {
    const key = keyOf(planned);
    const firstOpenPort = Number((await readFile(openPortsFile, 'utf8').catch(() => '')) || usualOpenPort);
    const stack = await open(planned, { choice: await chosen(), passts, logger }, signal);
    const refused = refusesPort(planned, { stack, firstOpenPort });
    if (refused === undefined) {
      ports.set(key, { planned, stack, reconnect: (await chosen()).reconnect, missing: 0 });
      return;
    }
    await passts.stop(key);
    throw refused;
  };

  /** Takes up those of a daemon before, and ends what has no port any more. */
  const settle = async (plan: NetworkPlan): Promise<void> => {
    const planned = new Map(plan.ports.map((port) => [keyOf(port), port]));
    // Those that stay need no look at the processes of the host.
    const unsettled = (await passts.list()).filter((key) => !ports.has(key) || !planned.has(key));
    for (const key of [...ports.keys()]) if (!planned.has(key)) ports.delete(key);
    if (unsettled.length === 0) return;
    const running = await passts.find();
    for (const key of unsettled) {
      const port = planned.get(key);
      if (port === undefined) await passts.stop(key);
      else if (running.has(key))
        ports.set(key, { planned: port, stack: 'passt', reconnect: (await chosen()).reconnect, missing: 0 });
    }
  };

  const apply = async (plan: NetworkPlan, signal: AbortSignal): Promise<void> => {
    await settle(plan);
    const outcomes = await Promise.allSettled(
      plan.ports.map(async (planned) => {
        signal.throwIfAborted();
        const port = ports.get(keyOf(planned));
        if (port === undefined) await add(planned, signal);
        else {
          ports.set(keyOf(planned), { ...port, planned });
          requireSamePorts(port, planned);
        }
      }),
    );
    watch.follow();
    signal.throwIfAborted();
    const failures = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
    if (failures.length > 0) throw all(failures);
  };

  const watch = createPasstWatch({
    ports,
    passts,
    logger,
    inTurn,
    tell: (repaired) => {
      for (const listener of [...listeners]) listener(repaired);
    },
  });

  return {
    driver: 'user',
    ...without,
    async refuses(network) {
      const { usable } = await chosen();
      return refusesNetwork(network, usable ? 'passt' : 'slirp');
    },
    listener: findListener,
    apply: (plan, signal) => inTurn(() => apply(plan, signal)),
    backend(wanted) {
      const key = keyOf(wanted);
      const port = ports.get(key);
      if (port === undefined)
        throw new WirtError(
          'network.failed',
          `Network card ${wanted.nic} of ${wanted.instance} is not planned.`,
        );
      return backendOf(port, passts.socketOf(key));
    },
    async observe(network) {
      const own = [...ports.values()].filter(({ planned }) => planned.network === network);
      return {
        ports: own
          .map(({ planned: { instance, nic } }) => ({ instance, nic, leases: [] }))
          .sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1)),
        rules: [],
      };
    },
    limits: async () =>
      new Map([...ports.values()].map(({ planned: { instance, nic } }) => [`${instance}/${nic}`, {}])),
    onRepair(listener) {
      const own = (repaired: Repaired): void => listener(repaired);
      listeners.add(own);
      return () => listeners.delete(own);
    },
    async close() {
      watch.end();
      await inTurn(async () => undefined);
    },
  };
}

/** What runs takes no other ports; said once, and then it is as if it were so, until the card is plugged in anew. */
function requireSamePorts(port: Port, planned: PlannedPort): void {
  if (samePublished(port.planned.publish, planned.publish)) return;
  throw new WirtError(
    'network.unsupported',
    `The published ports of network card ${planned.nic} of ${planned.hostname} stay as they are while it is plugged in, in user mode.`,
    {
      hint: `They are taken at the next start: \`wirt stop ${planned.hostname}\`, \`wirt start ${planned.hostname}\`.`,
      details: concerned(planned),
    },
  );
}

interface Stacks {
  readonly choice: PasstChoice;
  readonly passts: ReturnType<typeof createPassts>;
  readonly logger: Logger;
}

/** Passt where it starts, else slirp: it lacks something that passt has, and works everywhere. */
async function open(
  planned: PlannedPort,
  { choice: { usable, why }, passts, logger }: Stacks,
  signal: AbortSignal,
): Promise<Stack> {
  const { instance, nic } = planned;
  if (!usable) {
    logger.debug('network.slirp', { instance, nic, why });
    return 'slirp';
  }
  try {
    await passts.start(planned, signal);
    return 'passt';
  } catch (error) {
    signal.throwIfAborted();
    logger.warn('network.passt_failed', { instance, nic, error });
    return 'slirp';
  }
}

function backendOf({ planned, stack, reconnect }: Port, path: string): NicBackend {
  return stack === 'slirp'
    ? { type: 'user', hostname: planned.hostname, forwards: planned.publish }
    : { type: 'stream', path, ...(reconnect === undefined ? {} : { reconnect }) };
}

function all(failures: readonly unknown[]): unknown {
  const [first, ...others] = failures;
  if (others.length === 0) return first;
  const named = (what: 'networks' | 'instances') =>
    failures.flatMap((error) => {
      const ids = error instanceof WirtError ? error.details?.[what] : undefined;
      return Array.isArray(ids) ? ids : [];
    });
  const words = failures.map((error) => (error instanceof WirtError ? error.message : causeText(error)));
  return new WirtError('network.unsupported', words.join(' '), {
    details: { networks: named('networks'), instances: named('instances') },
  });
}
