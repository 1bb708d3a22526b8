/** The metadata service: a listener at every address where guests reach it, as networks come and go. */
import { setTimeout as delay } from 'node:timers/promises';
import type { MetadataActions, MetadataEndpoint } from '@wirt/core';
import { type Listener, type ListenerTimes, type MetadataLogger, openListener } from './listener.ts';
import { createShares, type ShareLimits } from './shares.ts';
import { createTokens } from './tokens.ts';

export interface MetadataServiceOptions {
  readonly actions: MetadataActions;
  readonly logger: MetadataLogger;
  readonly limits?: ShareLimits;
  readonly times?: ListenerTimes;
}

export interface MetadataService {
  /** Begins to follow the networks, and returns at once. What cannot be bound is tried again; nothing is thrown. */
  start(signal: AbortSignal): void;
  /** Ends all connections. */
  close(): Promise<void>;
}

const retryMs = 1000;

export function createMetadataService(options: MetadataServiceOptions): MetadataService {
  const { actions, logger, limits, times } = options;
  const parts = {
    actions,
    logger,
    tokens: createTokens(),
    shares: createShares(limits),
    ...(times === undefined ? {} : { times }),
  };
  const listeners = new Map<string, Listener>();
  const ended = new AbortController();
  let following: Promise<void> = Promise.resolve();

  /** What goes is closed before what comes is opened: it may be the same address on another network. */
  async function become(endpoints: readonly MetadataEndpoint[]): Promise<void> {
    const wanted = new Map(endpoints.map((endpoint) => [JSON.stringify(endpoint), endpoint]));
    const gone = [...listeners].filter(([key]) => !wanted.has(key));
    for (const [key] of gone) listeners.delete(key);
    await Promise.all(gone.map(([, listener]) => listener.close()));
    for (const [key, endpoint] of wanted)
      if (!listeners.has(key)) listeners.set(key, openListener(endpoint, parts));
  }

  async function follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        for await (const endpoints of actions.endpoints(signal)) await become(endpoints);
      } catch (error) {
        if (!signal.aborted) logger.warn('metadata.follow_failed', { error });
      }
      await delay(retryMs, undefined, { signal }).catch(() => undefined);
    }
  }

  return {
    start(signal) {
      following = follow(AbortSignal.any([signal, ended.signal]));
    },
    async close() {
      ended.abort();
      await following;
      await become([]);
    },
  };
}
