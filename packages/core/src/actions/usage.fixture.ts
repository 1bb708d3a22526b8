// Guests of which only the usage matters: counters that a test sets, QEMUs that answer, fail or are stuck, and time that a test moves.
import type { Instance } from '@wirt/api';
import { createMemoryStore } from '../fakes/memory-store.ts';
import type { DiskCounters, Guest, GuestMemory } from '../ports/hypervisor.ts';
import type { PortCounters } from '../ports/network.ts';
import type { GroupUsage } from '../ports/resource-control.ts';
import type { UsageHistoryStore, UsageSample } from '../ports/usage-history.ts';
import { Records } from './records.ts';
import { createSampler, type UsageNeeds } from './usage-sampler.ts';

export const usageStart = Date.UTC(2030, 0, 1);

export function idOf(index: number): string {
  return `01J9ZK3W8Y7Q5T2R4M6N8P${String(1000 + index)}`;
}

export interface MeasuredGuest {
  guest: Guest;
  group: GroupUsage | undefined;
  ports: Record<string, PortCounters>;
  threads: readonly number[];
  disks: readonly DiskCounters[];
  memory: GuestMemory;
  /** What QEMU does when it is asked. */
  qemu: 'answers' | 'fails' | 'deaf' | 'stuck';
  responsive: boolean;
  /** How often it was asked for its disks. */
  asked: number;
  open: number;
  mostOpen: number;
}

export const idle: GroupUsage = {
  cpuSeconds: 0,
  periods: 0,
  throttledPeriods: 0,
  throttledSeconds: 0,
  memoryBytes: 64 * 1024 ** 2,
  pressure: {},
  threads: [{ cpuSeconds: 0, stealSeconds: 0 }],
};

export function disk(name: string, counters: Partial<DiskCounters> = {}): DiskCounters {
  return { name, readBytes: 0, writtenBytes: 0, reads: 0, writes: 0, ...counters };
}

export function port(counters: Partial<PortCounters> = {}): PortCounters {
  const none = { ingressBytes: 0, egressBytes: 0, ingressPackets: 0, egressPackets: 0 };
  return { ...none, ingressDropped: 0, egressDropped: 0, ...counters };
}

/** A new QEMU of the same instance. */
export function newGuest(index: number, measured: () => MeasuredGuest): Guest {
  const ask = async (answer: () => unknown, signal: AbortSignal): Promise<unknown> => {
    signal.throwIfAborted();
    const own = measured();
    own.open += 1;
    own.mostOpen = Math.max(own.mostOpen, own.open);
    try {
      if (own.qemu === 'deaf')
        await new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
        });
      // A real one heeds the signal; this is the worst.
      if (own.qemu === 'stuck') await new Promise(() => undefined);
      if (own.qemu === 'fails') throw new Error('QMP is silent.');
      return answer();
    } finally {
      own.open -= 1;
    }
  };
  const guest = {
    id: idOf(index),
    process: { pid: 100 + index, startTicks: 1, uid: 0, gid: 0 },
    state: {
      processors: 'running',
      agent: true,
      get responsive() {
        return measured().responsive;
      },
    },
    tuning: {
      vcpuThreads: (signal: AbortSignal) => ask(() => measured().threads, signal),
      disks: (signal: AbortSignal) =>
        ask(() => {
          measured().asked += 1;
          return measured().disks;
        }, signal),
      memory: (signal: AbortSignal) => ask(() => measured().memory, signal),
    },
  };
  // Only these are used.
  return guest as unknown as Guest;
}

export interface UsageScene {
  readonly guests: MeasuredGuest[];
  readonly live: Map<string, Guest>;
  readonly sampler: ReturnType<typeof createSampler>;
  readonly needs: UsageNeeds;
  readonly added: ReadonlyMap<string, UsageSample>[];
  readonly logged: string[];
  history: Partial<UsageHistoryStore>;
  advance(ms: number): void;
  /** Moves time on and makes a pass. */
  passAfter(ms: number): Promise<void>;
  change(index: number, change: (instance: Instance) => Instance): void;
}

const times = { answerMs: 300, patienceMs: 100, questionsPerTurn: 110 };

export function usageScene(count: number, options: Partial<typeof times> = {}): UsageScene {
  const instances = new Records<Instance>({
    store: createMemoryStore(),
    kind: 'instance',
    parse: (value) => value as Instance,
  });
  const live = new Map<string, Guest>();
  const guests: MeasuredGuest[] = [];
  const logged: string[] = [];
  const added: ReadonlyMap<string, UsageSample>[] = [];
  let nowMs = 0;
  const put = (instance: Instance): void => instances.put(instance).applied(1);
  for (let index = 0; index < count; index++) {
    const own: MeasuredGuest = {
      guest: newGuest(index, () => own),
      group: idle,
      ports: { nic0: port() },
      threads: [1000 + index],
      disks: [disk('vda')],
      memory: { bootMib: 256, pluggedMib: 256, balloonMib: 200, maxMib: 256 },
      qemu: 'answers',
      responsive: true,
      asked: 0,
      open: 0,
      mostOpen: 0,
    };
    guests.push(own);
    live.set(idOf(index), own.guest);
    const nics = [{ name: 'nic0' }];
    const head = { id: idOf(index), name: `web-${index}`, project: 'default', labels: {}, revision: 0 };
    const spec = { cpus: 1, memoryMib: 256, nics, disks: [] };
    // What a measurement looks at, and not a whole record.
    put({ ...head, spec, status: { state: 'running' } } as unknown as Instance);
  }
  const scene: Pick<UsageScene, 'history'> = { history: {} };
  const log = (event: string, fields?: Readonly<Record<string, unknown>>): void => {
    logged.push(fields?.['over'] === true ? `${event} over` : event);
  };
  const clock = {
    now: () => new Date(usageStart + nowMs).toISOString(),
    monotonicMs: () => nowMs,
    // The moment between two parts of a pass; longer ones never end.
    sleep: (ms: number) => (ms > 1 ? new Promise<void>(() => undefined) : Promise.resolve()),
  };
  const byId = new Map(guests.map((own) => [own.guest.id, own]));
  const needs = {
    instances,
    clock,
    logger: { debug: log, info: log, warn: log, error: log },
    resources: { usage: (id: string) => byId.get(id)?.group },
    network: {
      counters: () =>
        new Map(
          guests.flatMap(({ guest, ports }) =>
            Object.entries(ports).map(([name, each]) => [`${guest.id}/${name}`, each] as const),
          ),
        ),
    },
    usageHistory: {
      add: (samples: ReadonlyMap<string, UsageSample>) => {
        scene.history.add?.(samples);
        added.push(samples);
      },
      read: (...asked: Parameters<UsageHistoryStore['read']>) => scene.history.read?.(...asked) ?? [],
      list: async () => (await scene.history.list?.()) ?? [],
      forget: async (id: string) => scene.history.forget?.(id),
      close: () => undefined,
    },
  } as unknown as UsageNeeds;
  const watched = { get: (id: string) => live.get(id), all: () => live.values() };
  const sampler = createSampler(needs, watched, { ...times, ...options });
  return Object.assign(scene, {
    guests,
    live,
    sampler,
    needs,
    added,
    logged,
    advance: (ms: number) => {
      nowMs += ms;
    },
    passAfter: async (ms: number) => {
      nowMs += ms;
      await sampler.pass();
    },
    change: (index: number, change: (instance: Instance) => Instance) =>
      put(change(instances.require(idOf(index)))),
  });
}
