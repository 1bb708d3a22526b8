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
import {
  createQuestions,
  defaultQuestionTimes,
  type Questions,
  type QuestionTimes,
} from './usage-questions.ts';
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

  /** What `work` gives, undefined when it fails. `key` is what tells this failure from others of the event. */
  try<T>(event: string, key: string, work: () => T): T | undefined {
    try {
      const done = work();
      this.tell(event, key, undefined);
      return done;
    } catch (error) {
      this.tell(event, key, error);
      return undefined;
    }
  }

  tell(event: string, key: string, error: unknown): void {
    const row = `${event} ${key}`;
    if (error === undefined) {
      if (this.#failing.delete(row)) this.#logger.info(event, { key, over: true });
    } else if (!this.#failing.has(row)) {
      this.#failing.add(row);
      this.#logger.warn(event, { key, error });
    }
  }
}

export function createSampler(
  needs: UsageNeeds,
  live: WatchedGuests,
  times: QuestionTimes = defaultQuestionTimes,
): UsageSampler {
  return new Sampler(needs, live, times);
}

class Sampler implements UsageSampler {
  readonly spent = { passes: 0, seconds: 0 };
  readonly #needs: UsageNeeds;
  readonly #live: WatchedGuests;
  readonly #questions: Questions;
  readonly #told: Told;
  readonly #stopped = new AbortController();
  /** Until when each is looked at closely. */
  readonly #watched = new Map<string, number>();
  #tracks = new Map<string, Track>();
  #last: Pass | undefined;
  #underWay: Promise<void> | undefined;
  #next = Promise.withResolvers<void>();

  constructor(needs: UsageNeeds, live: WatchedGuests, times: QuestionTimes) {
    this.#needs = needs;
    this.#live = live;
    this.#questions = createQuestions(needs.clock, times);
    this.#told = new Told(needs.logger);
  }

  get next(): Promise<void> {
    return this.#next.promise;
  }

  start(): void {
    this.#run(this.#stopped.signal).catch((error: unknown) => {
      if (!this.#stopped.signal.aborted) this.#needs.logger.error('usage.sampler_ended', { error });
    });
  }

  stop(): void {
    this.#stopped.abort(new Error('The sampler was stopped.'));
  }

  pass(): Promise<void> {
    this.#underWay ??= this.#onePass().finally(() => {
      this.#underWay = undefined;
    });
    return this.#underWay;
  }

  latest(id: string): Usage | undefined {
    return this.#last?.usage.get(id);
  }

  last(): Pass | undefined {
    return this.#last;
  }

  async look(guest: Guest): Promise<Usage | undefined> {
    await this.#questions.ask(guest);
    const found = this.#tracks.get(guest.id);
    if (found?.guest === guest) return found.usage;
    const track = this.#read(guest, this.#needs.clock.now(), this.#counters());
    if (track !== undefined) this.#tracks.set(guest.id, track);
    return track?.usage;
  }

  watch(id: string): void {
    this.#watched.set(id, this.#needs.clock.monotonicMs() + watchedMs);
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#needs;
    for (let turn = 0; !signal.aborted; turn++) {
      await this.pass();
      if (turn % tidyEvery === 0)
        this.#tidy().catch((error: unknown) => logger.warn('usage.tidy_failed', { error }));
      await clock.sleep(untilMarkMs(clock.now()), signal);
    }
  }

  async #onePass(): Promise<void> {
    try {
      await this.#questions.turn(this.#live.all(), this.#urgent());
      await this.#sweep();
    } catch (error) {
      if (!this.#stopped.signal.aborted) this.#needs.logger.error('usage.pass_failed', { error });
    }
    const ended = this.#next;
    this.#next = Promise.withResolvers<void>();
    ended.resolve();
  }

  /** Those that somebody looks at. */
  #urgent(): ReadonlySet<string> {
    const nowMs = this.#needs.clock.monotonicMs();
    for (const [id, untilMs] of this.#watched) if (untilMs < nowMs) this.#watched.delete(id);
    return new Set(this.#watched.keys());
  }

  async #sweep(): Promise<void> {
    const { clock } = this.#needs;
    const at = clock.now();
    const ports = this.#counters();
    const found = new Map<string, Track>();
    let unkept: unknown;
    for (const guests of inParts([...this.#live.all()])) {
      if (found.size > 0) await clock.sleep(1, this.#stopped.signal);
      const startMs = clock.monotonicMs();
      unkept ??= this.#sweepPart(guests, at, ports, found);
      this.spent.seconds += (clock.monotonicMs() - startMs) / 1000;
    }
    this.#told.tell('usage.history_failed', '', unkept);
    const usage = new Map<string, Usage>();
    for (const [id, track] of found) usage.set(id, track.usage);
    this.#tracks = found;
    this.#last = { at, usage };
    this.spent.passes += 1;
  }

  /** Gives back why the history could not be written. */
  #sweepPart(guests: readonly Guest[], at: string, ports: Ports, found: Map<string, Track>): unknown {
    const step = stepOf(at);
    const samples = new Map<string, UsageSample>();
    for (const guest of guests) {
      const { id } = guest;
      const track = this.#told.try('usage.sample_failed', id, () => this.#read(guest, at, ports));
      if (track === undefined) continue;
      found.set(id, track);
      // A guest's first has no rates yet.
      if (this.#tracks.has(id)) samples.set(id, sampleOf(track.usage, step));
    }
    try {
      if (samples.size > 0) this.#needs.usageHistory.add(samples);
      return undefined;
    } catch (error) {
      return error;
    }
  }

  #counters(): Ports {
    const { network, clock } = this.#needs;
    const all = this.#told.try('usage.network_failed', '', () => network.counters()) ?? new Map();
    return { all, atMs: clock.monotonicMs() };
  }

  #read(guest: Guest, at: string, ports: Ports): Track | undefined {
    const { instances, resources, clock } = this.#needs;
    const instance = instances.get(guest.id);
    if (instance === undefined) return undefined;
    const threads = this.#questions.threads(guest);
    const group = resources.usage(guest.id, guest.process, threads);
    if (group === undefined) return undefined;
    const own = new Map<string, PortCounters>();
    for (const { name } of instance.spec.nics) {
      const port = ports.all.get(`${guest.id}/${name}`);
      if (port !== undefined) own.set(name, port);
    }
    const track = this.#tracks.get(guest.id);
    // Another run of the same instance begins anew.
    const before = track?.guest === guest ? track.reading : undefined;
    const now = { atMs: clock.monotonicMs(), portsAtMs: ports.atMs, group, threads, ports: own };
    const reading = readingOf(now, before);
    const limits = instance.status.limits?.effective;
    const usage = usageOf({ instance, at, limits }, reading, before, this.#questions.known(guest));
    return { guest, reading, usage };
  }

  /** What removed instances have left, also those that an earlier daemon removed. */
  async #tidy(): Promise<void> {
    const { usageHistory, instances } = this.#needs;
    for (const id of await usageHistory.list())
      if (instances.get(id) === undefined) await usageHistory.forget(id);
  }
}
