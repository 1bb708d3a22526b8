/** Looks at the host when something may have been changed by somebody else, and at times anyway, and has it mended in its turn. */
import type { Clock, Logger, Repaired } from '@wirt/core';
import type { Host } from './host.ts';
import type { HostNames } from './names.ts';
import type { Shadows } from './shadows.ts';
import type { Turns } from './turns.ts';
import { createWatch } from './watch.ts';

export interface MendingOptions {
  readonly names: HostNames;
  readonly host: Host;
  readonly shadows: Pick<Shadows, 'look'>;
  readonly turns: Turns;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  tell(repaired: Repaired): void;
}

/** Everything is looked at this often, whatever the monitors say. */
const regularMs = 30_000;
/** What the kernel tells nobody about, this often. */
const settingsMs = 3_000;
/** So many looks that our own work spoils in a row; the next is taken in its turn, and keeps that work waiting. */
const mostSpoiled = 2;
/** Between two looks that suspicion asks for. */
const suspicionMs = 500;

export interface Mending {
  /** From now on somebody may take rates away. */
  watchRates(): void;
  /** Resolves when nothing of it works any more; `signal` has to be aborted before. */
  end(): Promise<void>;
}

/** Begins at once. */
export function startMending(options: MendingOptions): Mending {
  const { names, host, shadows, turns, clock, logger, signal, tell } = options;
  let working: Promise<void> | undefined;
  let looking: Promise<void> | undefined;
  let suspected = false;
  let spoiled = 0;

  async function look(): Promise<void> {
    const { started } = turns.work();
    // Looking takes long where there is much, and keeps nobody waiting.
    if (!(await host.differs(signal))) return;
    const work = turns.work();
    // What was changed meanwhile by ourselves is no difference: another look, once it is quiet, but not for ever.
    if ((work.running || work.started !== started) && spoiled < mostSpoiled) {
      spoiled += 1;
      suspected = true;
      return;
    }
    spoiled = 0;
    for (const each of await turns.take(() => host.mend(signal))) tell(each);
  }
  async function lookAtSettings(): Promise<void> {
    try {
      if (await host.settingsDiffer()) onSuspicion();
    } catch (error) {
      logger.error('network.not_compared', { error });
    }
  }
  function lookForShadows(): void {
    if (signal.aborted) return;
    looking ??= shadows
      .look(signal)
      .catch((error: unknown) => {
        if (!signal.aborted) logger.error('network.shadows_not_read', { error });
      })
      .finally(() => {
        looking = undefined;
      });
  }
  function onSuspicion(): void {
    suspected = true;
    if (signal.aborted) return;
    working ??= (async () => {
      while (suspected && !signal.aborted) {
        suspected = false;
        await look();
        await clock.sleep(suspicionMs, signal);
      }
    })()
      .catch((error: unknown) => {
        if (!signal.aborted) logger.error('network.not_compared', { error });
      })
      .finally(() => {
        working = undefined;
      });
  }

  const watch = createWatch({
    names,
    logger,
    expected: host.expected,
    ownWork: turns.work,
    onSuspicion,
    onOthers: lookForShadows,
  });
  const regular = setInterval(() => {
    onSuspicion();
    lookForShadows();
  }, regularMs);
  regular.unref();
  const settings = setInterval(() => void lookAtSettings(), settingsMs);
  settings.unref();
  // The first networks are there by then.
  const first = setTimeout(lookForShadows, settingsMs);
  first.unref();
  return {
    watchRates: watch.watchRates,
    async end() {
      clearInterval(regular);
      clearInterval(settings);
      clearTimeout(first);
      watch.close();
      await Promise.all([working, looking]);
    },
  };
}
