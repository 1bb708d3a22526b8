/** Actions over a fake host, with time that moves when a test says so, and steps that fail or never return. */
import type { InstanceCreate, Operation } from '@wirt/api';
import type { Request } from '../actions/actions.ts';
import { type Core, createActions } from '../actions/create-actions.ts';
import type { CoreParts } from '../actions/parts.ts';
import type { Clock } from '../ports/clock.ts';
import { createFakeHistory } from './fake-history.ts';
import { createFakeHost, type FakeHost } from './fake-host.ts';
import { type Cut, Grip } from './grip.ts';
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
  /** Events that were logged as warnings, in order. */
  readonly warnings: readonly string[];
  /** What happens at a step: `fail` throws there; `die` never returns, as for a daemon that was killed. */
  fault: { readonly step: string; readonly kind: 'fail' | 'die' } | undefined;
  /** Names of the calls of ports since `cut` was last called. */
  readonly calls: readonly string[];
  /** What happens at one of the calls of ports to come, the next being number 0. */
  cut(at: Cut | undefined): void;
  /** Resolves when the daemon has died. */
  died(): Promise<void>;
  /** A new daemon on the same store and host. */
  restart(): Promise<void>;
  /** Creates an instance of image `micro` and waits for its operation. */
  create(
    input?: Partial<Omit<InstanceCreate, 'spec'>> & { readonly spec?: Partial<InstanceCreate['spec']> },
  ): Promise<Operation>;
}

export const waitDone = { wait: 'done', waitSeconds: 5 } as const;

/** What is given is used instead of what is in memory, and then `store` and `host.network` are nobody's. */
export async function createFakeCore(
  given: Partial<Pick<CoreParts, 'store' | 'network'>> = {},
): Promise<FakeCore> {
  const host = createFakeHost();
  const store = createMemoryStore();
  const clock = createFakeClock();
  const steps: string[] = [];
  let grip = new Grip();
  const warnings: string[] = [];
  const logger = {
    debug: () => {},
    info: () => {},
    warn: (event: string) => void warnings.push(event),
    error: () => {},
  };

  async function start(): Promise<Core> {
    const own = new Grip();
    grip = own;
    const { storage } = host;
    storage.halfway = () => own.halfway();
    const core = await createActions({
      store: own.wrap('store', given.store ?? store),
      clock: own.wrap('clock', clock),
      logger,
      hypervisor: own.wrap('hypervisor', host.hypervisor),
      sandbox: own.wrap('sandbox', host.sandbox),
      resources: own.wrap('resources', host.resources),
      host: own.wrap('host', host.inspector),
      devices: own.wrap('devices', host.devices),
      topology: own.wrap('topology', host.topology),
      ...(host.topology.mayReserve
        ? {
            hugePages: own.wrap('hugePages', host.topology),
            pageMerging: own.wrap('pageMerging', host.topology.merging),
          }
        : {}),
      imageFiles: own.wrap('imageFiles', host.imageFiles),
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
      poolDrivers: storage.poolDrivers.map((driver) => own.wrap('driver', driver)),
      defaultPoolPath: '/pool',
      transfer: own.wrap('transfer', storage.transfer),
      downloader: own.wrap('downloader', storage.downloader),
      catalogue: own.wrap('catalogue', storage.catalogue),
      firmware: own.wrap('firmware', storage.firmware),
      seeds: own.wrap('seeds', storage.seeds),
      network: own.wrap('network', given.network ?? host.network),
      usageHistory: own.wrap('usageHistory', createFakeHistory()),
      faults: { at: (step) => at(step, own) },
      launchSlots: 4,
    });
    await core.recover(AbortSignal.timeout(5_000));
    return core;
  }

  function at(step: string, own: Grip): Promise<void> {
    if (own.lost) return new Promise(() => {});
    steps.push(step);
    if (fake.fault?.step !== step) return Promise.resolve();
    if (fake.fault.kind === 'fail') return Promise.reject(new Error(`injected at ${step}`));
    own.lose();
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
    warnings,
    fault: undefined,
    get calls() {
      return grip.calls;
    },
    cut: (cut) => {
      grip.calls.length = 0;
      grip.cut = cut;
    },
    died: () => grip.died,
    restart: async () => {
      fake.fault = undefined;
      grip.lose();
      // The listeners of a daemon that is gone hear nothing any more.
      for (const process of host.processes.values()) process.listeners.clear();
      host.network.deafen();
      fake.core = await start();
    },
    create: (input = {}) => {
      const spec = {
        image: 'micro',
        cpus: 1,
        memoryMib: 64,
        machine: 'q35',
        accelerator: 'auto',
        metadata: { enabled: true, tokens: 'required', hopLimit: 1 },
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
