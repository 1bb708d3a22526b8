/**
 * What only QEMU knows of a guest (disks, threads of vCPUs, balloon), asked over QMP: some guests in each turn, each when its turn has come, never
 * two questions to the same guest. A guest that does not answer in time holds nobody up, and what it said last stays.
 *
 * Why not all in each turn: a question costs wirtd 0.1 to 0.26 ms of processor time (waking QEMU by the socket, and parsing 3 KB of `query-blockstats`), so a
 * thousand would cost more than the 100 ms that a whole pass may take, of which the kernel's files are 50 ms. Up to `questionsPerTurn` guests all are
 * asked in each pass; above, each in its turn (a thousand: every 65 s), and the rates of its disks are true means over that time.
 */
import type { DiskUsage } from '@wirt/api';
import pLimit from 'p-limit';
import type { Clock } from '../ports/clock.ts';
import type { DiskCounters, Guest, GuestMemory } from '../ports/hypervisor.ts';
import { diskRates, type Known } from './usage-rates.ts';

export interface QuestionTimes {
  /** A guest that has not answered by then is stale. */
  readonly answerMs: number;
  /** How long a turn waits for guests that have answered last time. */
  readonly patienceMs: number;
  readonly questionsPerTurn: number;
}

export const defaultQuestionTimes: QuestionTimes = {
  answerMs: 2_000,
  patienceMs: 1_000,
  questionsPerTurn: 80,
};

/** Its balloon moves slowly, and asking takes two commands more: every so many questions to a guest. */
const memoryEvery = 6;
/** More at once only wait for each other; those that were silent last time have places of their own, so that they take none from the others. */
const atOnce = 16;
const silentAtOnce = 4;
const never = -1;

interface Asked {
  /** The number of the last question to it among those to all guests. */
  last: number;
  questions: number;
  asking: boolean;
  silent: boolean;
  threads: readonly number[];
  disks: readonly DiskUsage[];
  counters: { readonly atMs: number; readonly disks: readonly DiskCounters[] } | undefined;
  memory: GuestMemory | undefined;
}

export interface Questions {
  /** Asks those whose turn it is, first those in `urgent`, and returns when they have answered or patience is over. Never throws. */
  turn(guests: Iterable<Guest>, urgent: ReadonlySet<string>): Promise<void>;
  /** One guest now, unless a question to it is open. Never throws. */
  ask(guest: Guest): Promise<void>;
  threads(guest: Guest): readonly number[];
  known(guest: Guest): Known;
}

export function createQuestions(
  clock: Pick<Clock, 'monotonicMs'>,
  times: QuestionTimes = defaultQuestionTimes,
): Questions {
  // By the guest and not its id: another run has other counters. Gone with the guest.
  const asked = new WeakMap<Guest, Asked>();
  const places = pLimit(atOnce);
  const silentPlaces = pLimit(silentAtOnce);
  let count = 0;

  const of = (guest: Guest): Asked => {
    const found = asked.get(guest);
    if (found !== undefined) return found;
    const fresh = {
      last: never,
      questions: 0,
      asking: false,
      silent: false,
      threads: [],
      disks: [],
      counters: undefined,
      memory: undefined,
    };
    asked.set(guest, fresh);
    return fresh;
  };

  async function question({ tuning }: Guest, state: Asked, signal: AbortSignal): Promise<void> {
    const wantsMemory = state.questions++ % memoryEvery === 0;
    state.threads = await tuning.vcpuThreads(signal);
    const disks = await tuning.disks(signal);
    const atMs = clock.monotonicMs();
    const { counters: before } = state;
    const seconds = before === undefined ? 0 : (atMs - before.atMs) / 1000;
    state.disks = diskRates(disks, before?.disks, seconds);
    state.counters = { atMs, disks };
    if (wantsMemory) state.memory = await tuning.memory(signal);
  }

  /** Gives its place back at the deadline, also when the question stays open after it. */
  async function inTime(guest: Guest, state: Asked): Promise<void> {
    const signal = AbortSignal.timeout(times.answerMs);
    const answer = question(guest, state, signal)
      .then(
        () => (state.silent = false),
        () => (state.silent = true),
      )
      .finally(() => (state.asking = false));
    await Promise.race([answer, over(signal)]);
    if (state.asking) state.silent = true;
  }

  function ask(guest: Guest): Promise<void> {
    const state = of(guest);
    if (state.asking || !guest.state.responsive) return Promise.resolve();
    state.asking = true;
    state.last = ++count;
    return (state.silent ? silentPlaces : places)(() => inTime(guest, state));
  }

  function due(guests: Iterable<Guest>, urgent: ReadonlySet<string>): Guest[] {
    const rows: { readonly guest: Guest; readonly rank: number }[] = [];
    for (const guest of guests) {
      const { asking, last } = of(guest);
      if (asking || !guest.state.responsive) continue;
      rows.push({ guest, rank: urgent.has(guest.id) ? never - 1 : last });
    }
    if (rows.length > times.questionsPerTurn) rows.sort((a, b) => a.rank - b.rank);
    return rows.slice(0, times.questionsPerTurn).map(({ guest }) => guest);
  }

  return {
    ask,
    turn: async (guests, urgent) => {
      const waited: Promise<void>[] = [];
      for (const guest of due(guests, urgent)) {
        const { silent } = of(guest);
        const answered = ask(guest);
        if (!silent) waited.push(answered);
      }
      if (waited.length === 0) return;
      await Promise.race([Promise.all(waited), over(AbortSignal.timeout(times.patienceMs))]);
    },
    threads: (guest) => of(guest).threads,
    known: (guest) => {
      const { disks, memory, silent } = of(guest);
      return { disks, memory, stale: silent || !guest.state.responsive };
    },
  };
}

function over(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
