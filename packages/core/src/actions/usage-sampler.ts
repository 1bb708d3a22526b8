/**
 * Samples what all guests use: one pass every 5 s, on the 5 s of the wall clock, so that each falls into a step of the history. What the kernel
 * counts is read in each pass, in parts; what QEMU must be asked is in usage-questions. A pass waits for no guest that is stuck.
 */
import type { Usage } from '@wirt/api';
import type { Guest } from '../ports/hypervisor.ts';
import type { PortCounters } from '../ports/network.ts';
import type { UsageHistoryStore, UsageSample } from '../ports/usage-history.ts';
import type { LiveGuests } from './live-guests.ts';
import type { Shared } from './parts.ts';
import { createQuestions, defaultQuestionTimes, type QuestionTimes } from './usage-questions.ts';
import { type Reading, readingOf, sampleOf, usageOf } from './usage-rates.ts';

export const periodMs = 5_000;
/** Who has asked for one guest is likely to ask again: it is asked in each pass for so long. */
const watchedMs = 15_000;
/** In one go: with a thousand guests a pass takes some 80 ms, and whoever asks wirtd for something is not to wait for so long. */
const guestsAtOnce = 100;
/** Passes between two looks for histories of instances that are gone: an hour. */
const tidyEvery = 720;

export type UsageNeeds = Pick<Shared, 'instances' | 'resources' | 'network' | 'clock' | 'logger'> & {
  readonly usageHistory: UsageHistoryStore;
};

/** The guests under control, as LiveGuests has them. */
export type WatchedGuests = Pick<LiveGuests, 'get' | 'all'>;

export interface Pass {
  readonly at: string;
  /** By instance. */
  readonly usage: ReadonlyMap<string, Usage>;
}

export interface UsageSampler {
  /** The first pass at once. */
  start(): void;
  stop(): void;
  /** One pass; the same for all who ask while it is under way. Never throws. */
  pass(): Promise<void>;
  latest(id: string): Usage | undefined;
  last(): Pass | undefined;
  /** Resolves with the end of the next pass. */
  readonly next: Promise<void>;
  /** A guest that no pass has seen yet, now; undefined when there is nothing to read. */
  look(guest: Guest): Promise<Usage | undefined>;
  /** Somebody looks at this one closely. */
  watch(id: string): void;
  /** What all passes together have taken, without waiting. */
  readonly spent: { readonly passes: number; readonly seconds: number };
}

/** Of all cards, read together. */
interface Ports {
  readonly all: ReadonlyMap<string, PortCounters>;
  readonly atMs: number;
}

interface Track {
  readonly guest: Guest;
  readonly reading: Reading;
  readonly usage: Usage;
}

/** Monotonic waits whose length is taken from the wall clock: a pass that comes late, or a clock that is set, makes no drift and no storm. */
export function untilMarkMs(now: string): number {
  const leftMs = periodMs - (Date.parse(now) % periodMs);
  // A timer may fire a moment early; the pass has then been of the mark to come.
  return leftMs < periodMs / 2 ? leftMs + periodMs : leftMs;
}

/** The step that a pass belongs to, by its end. */
export function stepOf(at: string): number {
  return Math.round(Date.parse(at) / periodMs) * periodMs;
}

function* inParts<T>(all: readonly T[]): Iterable<readonly T[]> {
  for (let from = 0; from < all.length; from += guestsAtOnce) yield all.slice(from, from + guestsAtOnce);
}

/** Says the first failure of a row, and that it is over. */
class Told {
  readonly #logger: Shared['logger'];
  readonly #failing = new Set<string>();

  constructor(logger: Shared['logger']) {
    this.#logger = logger;
  }

  try(event: string, fields: Readonly<Record<string, unknown>>, work: () => void): void {
    const key = `${event} ${JSON.stringify(fields)}`;
    try {
      work();
      if (this.#failing.size > 0 && this.#failing.delete(key))
        this.#logger.info(event, { ...fields, over: true });
    } catch (error) {
      if (this.#failing.has(key)) return;
      this.#failing.add(key);
      this.#logger.warn(event, { ...fields, error });
    }
  }
}

export function createSampler(
  needs: UsageNeeds,
  live: WatchedGuests,
  times: QuestionTimes = defaultQuestionTimes,
): UsageSampler {
  const { instances, resources, network, clock, logger, usageHistory } = needs;
  const questions = createQuestions(clock, times);
  const told = new Told(logger);
  const stopped = new AbortController();
  const watched = new Map<string, number>();
  const spent = { passes: 0, seconds: 0 };
  let tracks = new Map<string, Track>();
  let last: Pass | undefined;
  let underWay: Promise<void> | undefined;
  let next = Promise.withResolvers<void>();

  function counters(): Ports {
    let all: ReadonlyMap<string, PortCounters> = new Map();
    told.try('usage.network_failed', {}, () => {
      all = network.counters();
    });
    return { all, atMs: clock.monotonicMs() };
  }

  function read(guest: Guest, at: string, ports: Ports): Track | undefined {
    const instance = instances.get(guest.id);
    if (instance === undefined) return undefined;
    const threads = questions.threads(guest);
    const group = resources.usage(guest.id, guest.process, threads);
    if (group === undefined) return undefined;
    const own = new Map<string, PortCounters>();
    for (const { name } of instance.spec.nics) {
      const port = ports.all.get(`${guest.id}/${name}`);
      if (port !== undefined) own.set(name, port);
    }
    const track = tracks.get(guest.id);
    // Another run of the same instance begins anew.
    const before = track?.guest === guest ? track.reading : undefined;
    const readNow = { atMs: clock.monotonicMs(), portsAtMs: ports.atMs, group, threads, ports: own };
    const reading = readingOf(readNow, before);
    const limits = instance.status.limits?.effective;
    const usage = usageOf({ instance, at, limits }, reading, before, questions.known(guest));
    return { guest, reading, usage };
  }

  async function sweep(): Promise<void> {
    const at = clock.now();
    const step = stepOf(at);
    const ports = counters();
    const found = new Map<string, Track>();
    const usage = new Map<string, Usage>();
    let unkept: unknown;
    for (const guests of inParts([...live.all()])) {
      if (found.size > 0) await clock.sleep(1, stopped.signal);
      const startMs = clock.monotonicMs();
      const samples = new Map<string, UsageSample>();
      for (const guest of guests) {
        const { id } = guest;
        told.try('usage.sample_failed', { instance: id }, () => {
          const track = read(guest, at, ports);
          if (track === undefined) return;
          found.set(id, track);
          usage.set(id, track.usage);
          // A guest's first has no rates yet.
          if (tracks.has(id)) samples.set(id, sampleOf(track.usage, step));
        });
      }
      unkept ??= keep(samples);
      spent.seconds += (clock.monotonicMs() - startMs) / 1000;
    }
    told.try('usage.history_failed', {}, () => {
      if (unkept !== undefined) throw unkept;
    });
    tracks = found;
    last = { at, usage };
    spent.passes += 1;
  }

  /** Gives back why it could not. */
  function keep(samples: ReadonlyMap<string, UsageSample>): unknown {
    try {
      if (samples.size > 0) usageHistory.add(samples);
      return undefined;
    } catch (error) {
      return error;
    }
  }

  /** Those that somebody looks at. */
  function urgent(): ReadonlySet<string> {
    const nowMs = clock.monotonicMs();
    for (const [id, untilMs] of watched) if (untilMs < nowMs) watched.delete(id);
    return new Set(watched.keys());
  }

  async function onePass(): Promise<void> {
    try {
      await questions.turn(live.all(), urgent());
      await sweep();
    } catch (error) {
      if (!stopped.signal.aborted) logger.error('usage.pass_failed', { error });
    }
    const ended = next;
    next = Promise.withResolvers<void>();
    ended.resolve();
  }

  /** What removed instances have left, also those that an earlier daemon removed. */
  async function tidy(): Promise<void> {
    for (const id of await usageHistory.list())
      if (instances.get(id) === undefined) await usageHistory.forget(id);
  }

  function pass(): Promise<void> {
    underWay ??= onePass().finally(() => {
      underWay = undefined;
    });
    return underWay;
  }

  async function run({ signal }: AbortController): Promise<void> {
    for (let turn = 0; !signal.aborted; turn++) {
      await pass();
      if (turn % tidyEvery === 0)
        tidy().catch((error: unknown) => logger.warn('usage.tidy_failed', { error }));
      await clock.sleep(untilMarkMs(clock.now()), signal);
    }
  }

  return {
    start: () => {
      run(stopped).catch((error: unknown) => {
        if (!stopped.signal.aborted) logger.error('usage.sampler_ended', { error });
      });
    },
    stop: () => stopped.abort(new Error('The sampler was stopped.')),
    pass,
    latest: (id) => last?.usage.get(id),
    last: () => last,
    get next() {
      return next.promise;
    },
    look: async (guest) => {
      await questions.ask(guest);
      const found = tracks.get(guest.id);
      if (found?.guest === guest) return found.usage;
      const track = read(guest, clock.now(), counters());
      if (track !== undefined) tracks.set(guest.id, track);
      return track?.usage;
    },
    watch: (id) => watched.set(id, clock.monotonicMs() + watchedMs),
    spent,
  };
}
