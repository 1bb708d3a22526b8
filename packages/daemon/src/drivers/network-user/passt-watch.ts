// Looks whether every card's passt is there, as long as there is one, and starts again what was lost where QEMU connects to it anew.
import type { Logger, PlannedPort, Repaired } from '@wirt/core';
import type { Stack } from './limits.ts';
import type { createPassts, PortKey } from './passt.ts';
import type { PasstChoice } from './passt-choice.ts';

/** A passt that is seen missing twice was not ended by its QEMU's end, which takes its port out of the plan. */
const watchMs = 2_000;

export interface Port {
  readonly planned: PlannedPort;
  readonly stack: Stack;
  readonly reconnect: PasstChoice['reconnect'];
  /** How often in a row its passt was not there. */
  missing: number;
}

export interface PasstWatchParts {
  readonly ports: ReadonlyMap<PortKey, Port>;
  readonly passts: ReturnType<typeof createPassts>;
  readonly logger: Logger;
  /** Never beside an apply. */
  inTurn(work: () => Promise<void>): Promise<void>;
  tell(repaired: Repaired): void;
}

export function createPasstWatch({ ports, passts, logger, inTurn, tell }: PasstWatchParts) {
  let watching: NodeJS.Timeout | undefined;

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
    tell({ network, what: `passt of network card ${nic} of ${hostname} had ended, and was started again.` });
  };

  const lost = (error: unknown): void => logger.warn('network.passt_not_mended', { error });
  const end = (): void => {
    clearInterval(watching);
    watching = undefined;
  };
  return {
    /** Looks from now on where a port has a passt, and no more where none has. */
    follow(): void {
      const isNeeded = [...ports.values()].some(({ stack }) => stack === 'passt');
      if (!isNeeded) end();
      else watching ??= setInterval(() => void inTurn(mend).catch(lost), watchMs).unref();
    },
    end,
  };
}
