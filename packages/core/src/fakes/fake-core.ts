/** Actions over a fake host, with time that moves when a test says so, and steps that fail or never return. */
import type { InstanceCreate, Operation } from '@wirt/api';
import type { Request } from '../actions/actions.ts';
import { type Core, createActions } from '../actions/create-actions.ts';
import type { Clock } from '../ports/clock.ts';
import { createFakeHost, type FakeHost } from './fake-host.ts';
import { createMemoryStore, type MemoryStore } from './memory-store.ts';

export interface FakeClock extends Clock {
  /** Moves time on and ends the sleeps that are due. */
  advance(ms: number): void;
}

function createFakeClock(): FakeClock {
  let nowMs = 0;
  const sleeps = new Set<{ dueMs: number; wake: () => void }>();
  return {
    now: () => new Date(Date.UTC(2030, 0, 1) + nowMs).toISOString(),
    monotonicMs: () => nowMs,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        const sleep = { dueMs: nowMs + ms, wake: resolve };
        sleeps.add(sleep);
        signal.addEventListener(
          'abort',
          () => {
            sleeps.delete(sleep);
            reject(signal.reason as Error);
          },
          { once: true },
        );
      }),
    advance: (ms) => {
      nowMs += ms;
      for (const sleep of sleeps) {
        if (sleep.dueMs > nowMs) continue;
        sleeps.delete(sleep);
        sleep.wake();
      }
    },
  };
}

export interface FakeCore {
  readonly host: FakeHost;
  readonly store: MemoryStore;
  readonly clock: FakeClock;
  readonly request: Request;
  core: Core;
  /** Steps passed, in order. */
  readonly steps: string[];
  /** What happens at a step: `fail` throws there; `die` never returns, as for a daemon that was killed. */
  fault: { readonly step: string; readonly kind: 'fail' | 'die' } | undefined;
  /** Resolves when a step at which the daemon dies has been reached. */
  died(): Promise<void>;
  /** A new daemon on the same store and host. */
  restart(): Promise<void>;
  /** Creates an instance of image `micro` and waits for its operation. */
  create(
    input?: Partial<Omit<InstanceCreate, 'spec'>> & { readonly spec?: Partial<InstanceCreate['spec']> },
  ): Promise<Operation>;
}

export const waitDone = { wait: 'done', waitSeconds: 5 } as const;

export async function createFakeCore(): Promise<FakeCore> {
  const host = createFakeHost();
  const store = createMemoryStore();
  const clock = createFakeClock();
  const steps: string[] = [];
  let dead = Promise.withResolvers<void>();
  const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

  async function start(): Promise<Core> {
    const core = await createActions({
      store,
      clock,
      logger: silent,
      hypervisor: host.hypervisor,
      sandbox: host.sandbox,
      resources: host.resources,
      host: host.inspector,
      imageFiles: host.imageFiles,
      imageBuilders: [
        {
          recipe: 'micro',
          build: () =>
            Promise.resolve({
              kind: 'kernel',
              kernel: 'vmlinuz',
              initrd: 'initrd',
              kernelArgs: 'quiet',
              sizeBytes: 1,
              description: 'test',
            }),
        },
      ],
      poolDrivers: host.storage.poolDrivers,
      defaultPoolPath: '/pool',
      transfer: host.storage.transfer,
      downloader: host.storage.downloader,
      catalogue: host.storage.catalogue,
      firmware: host.storage.firmware,
      seeds: host.storage.seeds,
      faults: { at },
      launchSlots: 4,
    });
    await core.recover(AbortSignal.timeout(5_000));
    return core;
  }

  function at(step: string): Promise<void> {
    steps.push(step);
    if (fake.fault?.step !== step) return Promise.resolve();
    if (fake.fault.kind === 'fail') return Promise.reject(new Error(`injected at ${step}`));
    dead.resolve();
    return new Promise(() => {});
  }

  const fake: FakeCore = {
    host,
    store,
    clock,
    request: { caller: 'socket', signal: new AbortController().signal },
    // Filled below, before anybody has `fake`.
    core: undefined as unknown as Core,
    steps,
    fault: undefined,
    died: () => dead.promise,
    restart: async () => {
      fake.fault = undefined;
      dead = Promise.withResolvers();
      // The listeners of a daemon that is gone hear nothing any more.
      for (const process of host.processes.values()) process.listeners.clear();
      fake.core = await start();
    },
    create: (input = {}) => {
      const spec = {
        image: 'micro',
        cpus: 1,
        memoryMib: 64,
        machine: 'q35',
        accelerator: 'auto',
        nics: [],
        disks: [],
        restart: 'never',
        autostart: false,
        overcommit: false,
        ...input.spec,
      } as const satisfies InstanceCreate['spec'];
      const whole: InstanceCreate = {
        project: 'default',
        labels: {},
        start: false,
        startPaused: false,
        ...input,
        spec,
      };
      return fake.core.actions.instance.create(fake.request, whole, waitDone);
    },
  };
  fake.core = await start();
  await fake.core.actions.image.build(fake.request, { recipe: 'micro' }, waitDone);
  steps.length = 0;
  return fake;
}
