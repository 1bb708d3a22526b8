// Networking without root: each guest behind a user-mode stack of its own, either passt, a process beside QEMU, or slirp within QEMU.
// Nothing of it is in the host's kernel, so there is nothing to mend but a passt that was lost. Which of both: docs/decisions/0021.
import { readFile } from 'node:fs/promises';
import { causeText, WirtError } from '@wirt/api';
import type { Logger, NetworkDriver, NetworkPlan, NicBackend, PlannedPort, Repaired } from '@wirt/core';
import { findListener } from '../../platform/listeners.ts';
import { concerned, refusesNetwork, refusesPort, type Stack, samePublished } from './limits.ts';
import { createPassts, keyOf, type PortKey } from './passt.ts';
import { choosePasst, type PasstChoice, type PasstWanted } from './passt-choice.ts';

export interface UserNetworkOptions {
  readonly runDirectory: string;
  readonly logger: Logger;
  /** What the QEMU of guests can, by the names of the host's probe. */
  qemuFeatures(signal: AbortSignal): Promise<Readonly<Record<string, boolean>>>;
  /** `auto`: where QEMU connects again to a passt that was lost. Default. */
  readonly passt?: PasstWanted;
}

/** A passt that is seen missing twice was not ended by its QEMU's end, which takes its port out of the plan. */
const watchMs = 2_000;
const openPortsFile = '/proc/sys/net/ipv4/ip_unprivileged_port_start';
const usualOpenPort = 1024;

interface Port {
  readonly planned: PlannedPort;
  readonly stack: Stack;
  readonly reconnect: PasstChoice['reconnect'];
  /** How often in a row its passt was not there. */
  missing: number;
}

export function createUserNetwork(options: UserNetworkOptions): NetworkDriver {
  const { logger } = options;
  const passts = createPassts(options.runDirectory);
  const ports = new Map<PortKey, Port>();
  const listeners = new Set<(repaired: Repaired) => void>();
  let choice: Promise<PasstChoice> | undefined;
  let last: Promise<unknown> = Promise.resolve();
  let watching: NodeJS.Timeout | undefined;

  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const done = last.then(work, work);
    last = done.catch(() => {});
    return done;
  };
  const chosen = (): Promise<PasstChoice> => {
    choice ??= choosePasst(options);
    choice.catch(() => {
      choice = undefined;
    });
    return choice;
  };

  /** Passt where it starts, else slirp: it lacks something that passt has, and works everywhere. */
  const open = async (planned: PlannedPort, signal: AbortSignal): Promise<Stack> => {
    const { usable, why } = await chosen();
    if (!usable) {
      logger.debug('network.slirp', { instance: planned.instance, nic: planned.nic, why });
      return 'slirp';
    }
    try {
      await passts.start(planned, signal);
      return 'passt';
    } catch (error) {
      signal.throwIfAborted();
      logger.warn('network.passt_failed', { instance: planned.instance, nic: planned.nic, error });
      return 'slirp';
    }
  };

  const add = async (planned: PlannedPort, signal: AbortSignal): Promise<void> => {
    const key = keyOf(planned);
    const firstOpenPort = Number((await readFile(openPortsFile, 'utf8').catch(() => '')) || usualOpenPort);
    const stack = await open(planned, signal);
    const refused = refusesPort(planned, { stack, firstOpenPort });
    if (refused === undefined) {
      ports.set(key, { planned, stack, reconnect: (await chosen()).reconnect, missing: 0 });
      return;
    }
    await passts.stop(key);
    throw refused;
  };

  /** What runs takes no other ports; said once, and then it is as if it were so, until the card is plugged in anew. */
  const change = (port: Port, planned: PlannedPort): void => {
    ports.set(keyOf(planned), { ...port, planned });
    if (samePublished(port.planned.publish, planned.publish)) return;
    throw new WirtError(
      'network.unsupported',
      `The published ports of network card ${planned.nic} of ${planned.hostname} stay as they are while it is plugged in, in user mode.`,
      {
        hint: `They are taken at the next start: \`wirt stop ${planned.hostname}\`, \`wirt start ${planned.hostname}\`.`,
        details: concerned(planned),
      },
    );
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
        else change(port, planned);
      }),
    );
    watch();
    signal.throwIfAborted();
    const failures = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
    if (failures.length > 0) throw all(failures);
  };

  const watch = (): void => {
    const isNeeded = [...ports.values()].some(({ stack }) => stack === 'passt');
    if (isNeeded && watching === undefined) {
      watching = setInterval(() => void inTurn(mend).catch(lost), watchMs).unref();
    } else if (!isNeeded) {
      clearInterval(watching);
      watching = undefined;
    }
  };
  const lost = (error: unknown): void => logger.warn('network.passt_not_mended', { error });

  const mend = async (): Promise<void> => {
    const running = await passts.find();
    for (const [key, port] of ports) {
      if (port.stack !== 'passt') continue;
      port.missing = running.has(key) ? 0 : port.missing + 1;
      if (port.missing === 2) await replace(port);
    }
  };

  const replace = async ({ planned, reconnect }: Port): Promise<void> => {
    const { instance, nic, network, hostname } = planned;
    if (reconnect === undefined) {
      // This QEMU does not connect again: the card has no link until it is plugged in anew.
      logger.error('network.passt_lost', { instance, nic });
      return;
    }
    await passts.start(planned, AbortSignal.timeout(watchMs));
    const what = `passt of network card ${nic} of ${hostname} had ended, and was started again.`;
    for (const listener of [...listeners]) listener({ network, what });
  };

  return {
    driver: 'user',
    unusable: async () => undefined,
    async refuses(network) {
      const { usable } = await chosen();
      return refusesNetwork(network, usable ? 'passt' : 'slirp');
    },
    routes: async () => [],
    interfaces: () => Promise.resolve([]),
    floatingRefused: () =>
      Promise.resolve({
        why: 'without root the host takes no address for a guest',
        hint: 'Publish ports instead: `--publish 8080:80`.',
      }),
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
    interfaceOf: () => undefined,
    async observe(network) {
      const own = [...ports.values()].filter(({ planned }) => planned.network === network);
      return {
        ports: own.map(({ planned: { instance, nic } }) => ({ instance, nic, leases: [] })),
        rules: [],
      };
    },
    onRepair(listener) {
      const own = (repaired: Repaired): void => listener(repaired);
      listeners.add(own);
      return () => listeners.delete(own);
    },
    async probe() {
      throw new WirtError(
        'network.unsupported',
        'In user mode no packet can be sent from the place of a guest.',
        {
          hint: 'Try it in the guest itself: `wirt exec`.',
        },
      );
    },
    async close() {
      clearInterval(watching);
      watching = undefined;
      await last;
    },
  };
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
