// For tests: a fake daemon on a host of several nodes, with what each QEMU was started with and where its threads may be.
import type { Instance, InstanceCreate, Tuning } from '@wirt/api';
import type { GuestPins, LaunchPlan } from '../domain/guest.ts';
import { type FakeCore, waitDone } from '../fakes/fake-core.ts';
import { hostOf } from '../fakes/fake-topology.ts';
import { createScene, type Scene } from '../fakes/scene.ts';

export const force = { mode: 'force', graceSeconds: 0 } as const;
const passMs = 5_000;

type SpecPart = Partial<InstanceCreate['spec']>;

export interface PlacedCore {
  readonly fake: FakeCore;
  readonly scene: Scene;
  /** What QEMU was told at the last start of each instance, by name. */
  plan(name: string): Promise<LaunchPlan | undefined>;
  /** Where the threads of a running guest may be; undefined where it was never told. */
  pins(name: string): Promise<GuestPins | undefined>;
  get(name: string): Promise<Instance>;
  /** Creates and starts. */
  run(name: string, tuning?: Tuning, spec?: SpecPart): Promise<void>;
  start(name: string): Promise<unknown>;
  stop(name: string): Promise<unknown>;
  /** One pass of the watch of places, whole. */
  pass(): Promise<void>;
}

/** Processors are numbered node by node. */
export async function createPlacedCore(nodes = 2, cpusOfNode = 4): Promise<PlacedCore> {
  const scene = await createScene();
  const { fake } = scene;
  const { hypervisor, topology, processes } = fake.host;
  topology.host = hostOf(nodes, cpusOfNode);
  await fake.restart();
  const plans = new Map<string, LaunchPlan>();
  const launch = hypervisor.launch;
  Object.assign(hypervisor, {
    launch: (...given: Parameters<typeof launch>) => {
      plans.set(given[0].id, given[0]);
      return launch(...given);
    },
  });
  const get = (name: string): Promise<Instance> => fake.core.actions.instance.get(name);
  return {
    fake,
    scene,
    get,
    plan: async (name) => plans.get((await get(name)).id),
    pins: async (name) => processes.get((await get(name)).id)?.tuning.pins,
    run: async (name, tuning, spec = {}) => {
      const tuned = tuning === undefined ? {} : { tuning };
      await fake.create({ name, start: true, spec: { ...spec, ...tuned } });
    },
    start: (name) => fake.core.actions.instance.start(fake.request, name, { paused: false }, waitDone),
    stop: (name) => fake.core.actions.instance.stop(fake.request, name, force, waitDone),
    pass: async () => {
      await turns();
      fake.clock.advance(passMs);
      await turns();
    },
  };
}

/** What goes on behind the back of an operation takes no more than a few turns in memory. */
export async function turns(): Promise<void> {
  for (let turn = 0; turn < 500; turn += 1) await Promise.resolve();
}
