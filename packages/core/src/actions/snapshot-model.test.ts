// Random lives of volumes with snapshots, clones, merges and deaths of the daemon, compared with a model that only knows contents.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { waitDone } from '../fakes/fake-core.ts';
import type { Cut } from '../fakes/grip.ts';
import { createScene, type Scene } from '../fakes/scene.ts';

type Content = Readonly<Record<string, string>>;

/** What every volume reads, and what it read at each snapshot. */
interface Model {
  readonly disks: Map<string, Content>;
  readonly snapshots: Map<string, { readonly content: Map<string, Content>; parent: string | undefined }>;
  current: string | undefined;
  readonly clones: Map<string, Content>;
  count: number;
}

type Step =
  | { readonly kind: 'write'; readonly disk: number; readonly place: number }
  | { readonly kind: 'snapshot' }
  | { readonly kind: 'start' | 'stop' | 'restart' }
  | { readonly kind: 'restore'; readonly which: number }
  | { readonly kind: 'remove'; readonly which: number }
  | { readonly kind: 'clone'; readonly disk: number; readonly mode: 'linked' | 'full' }
  | { readonly kind: 'flatten'; readonly disk: number }
  | {
      readonly kind: 'write-clone' | 'remove-clone' | 'flatten-clone' | 'clone-clone';
      readonly which: number;
    };

interface Told {
  readonly step: Step;
  /** Where the daemon dies in it, or one of its calls fails. */
  readonly cut: Cut | undefined;
  /** What a guest does until there is another daemon. */
  readonly meanwhile: { readonly writes: boolean; readonly ends: boolean };
}

const disks = ['a', 'b'];
const index = fc.nat({ max: 9 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('write' as const), disk: index, place: fc.nat({ max: 3 }) }),
  },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('snapshot' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom('start' as const, 'start' as const, 'stop' as const, 'restart' as const),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('restore' as const), which: index }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('remove' as const), which: index }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('clone' as const),
      disk: index,
      mode: fc.constantFrom('linked' as const, 'full' as const),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('flatten' as const), disk: index }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'write-clone' as const,
        'remove-clone' as const,
        'flatten-clone' as const,
        'clone-clone' as const,
      ),
      which: index,
    }),
  },
);
const told: fc.Arbitrary<Told> = fc.record({
  step,
  cut: fc.option(
    fc.record({
      call: fc.nat({ max: 32 }),
      how: fc.constantFrom('before' as const, 'during' as const, 'after' as const, 'fail' as const),
    }),
    { nil: undefined, freq: 2 },
  ),
  meanwhile: fc.record({ writes: fc.boolean(), ends: fc.boolean() }),
});

function pick<T>(list: readonly T[], which: number): T | undefined {
  return list[which % Math.max(1, list.length)];
}

interface Todo {
  readonly act: () => Promise<unknown>;
  /** What the model becomes when it was done. */
  readonly done: () => void;
}

type On<K extends Step['kind']> = (
  scene: Scene,
  model: Model,
  step: Extract<Step, { kind: K }>,
) => Todo | undefined;

const nothing = (): void => undefined;
const whole = { project: 'default', labels: {}, pool: 'default', format: 'qcow2' } as const;

const onWrite: On<'write'> = ({ write }, model, step) => {
  const disk = pick(disks, step.disk) ?? 'a';
  const [place, word] = [`p${step.place}`, `w${model.count}`];
  return {
    act: () => write(disk, place, word),
    done: () => model.disks.set(disk, { ...model.disks.get(disk), [place]: word }),
  };
};

const onLife: On<'start' | 'stop' | 'restart'> = ({ fake }, _model, { kind }) => {
  const { instance } = fake.core.actions;
  switch (kind) {
    case 'start':
      return { act: () => instance.start(fake.request, 'vm', { paused: false }, waitDone), done: nothing };
    case 'stop': {
      const force = { mode: 'force', graceSeconds: 0 } as const;
      return { act: () => instance.stop(fake.request, 'vm', force, waitDone), done: nothing };
    }
    case 'restart':
      return { act: () => fake.restart(), done: nothing };
  }
};

const onSnapshot: On<'snapshot'> = ({ fake }, model) => {
  const name = `s${model.count}`;
  const input = { name, labels: {}, freeze: 'auto' } as const;
  return {
    act: () => fake.core.actions.snapshot.create(fake.request, 'vm', input, waitDone),
    done: () => {
      model.snapshots.set(name, { content: new Map(model.disks), parent: model.current });
      model.current = name;
    },
  };
};

const onRestore: On<'restore'> = ({ fake }, model, { which }) => {
  const name = pick([...model.snapshots.keys()], which);
  if (name === undefined) return undefined;
  return {
    act: () => fake.core.actions.snapshot.restore(fake.request, 'vm', name, waitDone),
    done: () => {
      for (const [disk, content] of model.snapshots.get(name)?.content ?? []) model.disks.set(disk, content);
      model.current = name;
    },
  };
};

const onRemove: On<'remove'> = ({ fake }, model, { which }) => {
  const name = pick([...model.snapshots.keys()], which);
  if (name === undefined) return undefined;
  return {
    act: () => fake.core.actions.snapshot.remove(fake.request, 'vm', name, waitDone),
    done: () => {
      const parent = model.snapshots.get(name)?.parent;
      model.snapshots.delete(name);
      for (const other of model.snapshots.values()) if (other.parent === name) other.parent = parent;
      if (model.current === name) model.current = parent;
    },
  };
};

function cloneOf(
  { fake }: Scene,
  model: Model,
  from: string,
  mode: 'linked' | 'full',
  content: () => Content,
): Todo {
  const name = `c${model.count}`;
  const source = { kind: 'volume', volume: from, mode } as const;
  return {
    act: () => fake.core.actions.volume.create(fake.request, { ...whole, name, source }, waitDone),
    done: () => model.clones.set(name, content()),
  };
}

type CloneKind = 'write-clone' | 'remove-clone' | 'flatten-clone' | 'clone-clone';

const onClone: On<CloneKind> = (scene, model, { kind, which }) => {
  const name = pick([...model.clones.keys()], which);
  if (name === undefined) return undefined;
  const { fake } = scene;
  const { volume } = fake.core.actions;
  const word = `w${model.count}`;
  switch (kind) {
    case 'write-clone':
      return {
        act: () => scene.write(name, 'p0', word),
        done: () => model.clones.set(name, { ...model.clones.get(name), p0: word }),
      };
    case 'remove-clone':
      return {
        act: () => volume.remove(fake.request, name, waitDone),
        done: () => model.clones.delete(name),
      };
    case 'flatten-clone':
      return { act: () => volume.flatten(fake.request, name, waitDone), done: nothing };
    case 'clone-clone':
      return cloneOf(scene, model, name, 'linked', () => model.clones.get(name) ?? {});
  }
};

/** Undefined where there is nothing to do it with. */
function prepare(scene: Scene, model: Model, step: Step): Todo | undefined {
  model.count += 1;
  switch (step.kind) {
    case 'write':
      return onWrite(scene, model, step);
    case 'start':
    case 'stop':
    case 'restart':
      return onLife(scene, model, step);
    case 'snapshot':
      return onSnapshot(scene, model, step);
    case 'restore':
      return onRestore(scene, model, step);
    case 'remove':
      return onRemove(scene, model, step);
    case 'clone': {
      const disk = pick(disks, step.disk) ?? 'a';
      return cloneOf(scene, model, disk, step.mode, () => model.disks.get(disk) ?? {});
    }
    case 'flatten': {
      const disk = pick(disks, step.disk) ?? 'a';
      const { volume } = scene.fake.core.actions;
      return { act: () => volume.flatten(scene.fake.request, disk, waitDone), done: nothing };
    }
    case 'write-clone':
    case 'remove-clone':
    case 'flatten-clone':
    case 'clone-clone':
      return onClone(scene, model, step);
  }
}

async function compare(scene: Scene, model: Model): Promise<void> {
  const { fake } = scene;
  const { items } = await fake.core.actions.snapshot.list('vm', { limit: 1000 });
  const nameOf = (id: string | undefined): string | undefined => items.find((one) => one.id === id)?.name;
  const tree = Object.fromEntries(items.map(({ name, status }) => [name, nameOf(status.parent)]));
  expect(tree).toEqual(Object.fromEntries([...model.snapshots].map(([name, { parent }]) => [name, parent])));
  const vm = await fake.core.actions.instance.get('vm');
  expect(nameOf(vm.status.snapshot)).toBe(model.current);
  // One whose removal has failed can only be removed.
  for (const [name, content] of [...model.disks, ...model.clones])
    if ((await scene.volumeOf(name)).status.state === 'ready')
      expect({ [name]: await scene.content(name) }).toEqual({ [name]: content });
  const removing = items.filter(({ status }) => status.state === 'removing').map(({ name }) => name);
  // One whose removal has failed can only be removed.
  for (const [name, { content }] of model.snapshots)
    if (!removing.includes(name))
      expect({ [name]: await frozenContent(scene, name) }).toEqual({ [name]: Object.fromEntries(content) });
  const process = fake.host.processes.get(vm.id);
  for (const disk of vm.spec.disks)
    if (process !== undefined && disk.device === 'disk') {
      const volume = await scene.volumeOf(disk.volume);
      expect(fake.host.read(vm.id, disk.name)).toEqual(model.disks.get(volume.name));
    }
}

/** What the disks of a snapshot hold, by the names of their volumes. */
async function frozenContent(scene: Scene, snapshot: string): Promise<Record<string, Content>> {
  const { status } = await scene.fake.core.actions.snapshot.get('vm', snapshot);
  const found: Record<string, Content> = {};
  for (const { volume, layer } of status.disks)
    found[(await scene.volumeOf(volume)).name] = await scene.content(volume, layer);
  return found;
}

/** The operation of a step that a death cut off tells whether it was done after all. */
async function wasDone({ fake }: Scene, before: ReadonlySet<string>): Promise<boolean> {
  const { items } = await fake.core.actions.operation.list({ limit: 1000 });
  const own = items.find(({ id, requestedBy }) => !before.has(id) && requestedBy === 'socket');
  return own?.state === 'done';
}

/** What was frozen before the guest wrote meanwhile may be kept without that. */
async function whatWasKept(scene: Scene, model: Model, former: Content): Promise<void> {
  const snapshot = model.snapshots.get(`s${model.count}`);
  if (snapshot !== undefined) {
    const frozen = await frozenContent(scene, `s${model.count}`);
    if (JSON.stringify(frozen['a']) === JSON.stringify(former)) snapshot.content.set('a', former);
  }
  const clone = model.clones.get(`c${model.count}`);
  if (clone === undefined || clone !== model.disks.get('a')) return;
  if (JSON.stringify(await scene.content(`c${model.count}`)) === JSON.stringify(former))
    model.clones.set(`c${model.count}`, former);
}

/** The guest goes on while there is no daemon. */
async function passTime({ fake }: Scene, model: Model, vm: string, { meanwhile }: Told): Promise<void> {
  const process = fake.host.processes.get(vm);
  if (process?.processors !== 'running') return;
  if (meanwhile.writes) {
    const word = `m${model.count}`;
    fake.host.write(vm, 'disk1', 'p9', word);
    model.disks.set('a', { ...model.disks.get('a'), p9: word });
  }
  if (meanwhile.ends) fake.host.end(vm, {});
}

/** The daemon may also die in what goes on behind the back of an operation that has ended. */
async function outlive(scene: Scene): Promise<void> {
  const died = scene.fake.died().then(() => true);
  if (await Promise.race([scene.settled().then(() => false), died])) await scene.fake.restart();
}

async function run(scene: Scene, model: Model, given: Told): Promise<void> {
  const { fake } = scene;
  const { step: one, cut } = given;
  const todo = prepare(scene, model, one);
  if (todo === undefined) return;
  const { id: vm } = await fake.core.actions.instance.get('vm');
  const before = new Set((await fake.core.actions.operation.list({ limit: 1000 })).items.map(({ id }) => id));
  const isCut = cut !== undefined && !['write', 'write-clone', 'restart'].includes(one.kind);
  if (isCut) fake.cut(cut);
  const ended = todo.act().then(
    () => true,
    () => false,
  );
  const former = model.disks.get('a') ?? {};
  const done = await Promise.race([ended, ...(isCut ? [fake.died().then(() => undefined)] : [])]);
  if (done === undefined) await passTime(scene, model, vm, given);
  if (isCut) fake.cut(undefined);
  if (done === undefined) await fake.restart();
  else if (isCut) await outlive(scene);
  await scene.settled();
  if (done ?? (await wasDone(scene, before))) todo.done();
  if (done === undefined) await whatWasKept(scene, model, former);
  await compare(scene, model);
  // What a call that fails keeps from being tidied up, the next daemon tidies up.
  if (isCut && cut.how === 'fail') await fake.restart();
  await scene.settled();
  expect(await scene.faults()).toEqual([]);
}

async function live(steps: readonly Told[], starts: boolean, native = false): Promise<void> {
  const scene = await createScene();
  if (native) scene.fake.host.storage.snapshots = 'native';
  await scene.image('base');
  await scene.volume('a', { source: { kind: 'image', image: 'base', mode: 'linked' } });
  await scene.volume('b');
  await scene.guest('vm', disks, starts);
  const model: Model = {
    disks: new Map(disks.map((disk) => [disk, {}])),
    snapshots: new Map(),
    current: undefined,
    clones: new Map(),
    count: 0,
  };
  for (const one of steps) await run(scene, model, one);
  await compare(scene, model);
}

describe('volumes with snapshots and clones', () => {
  it('read what was written, whatever is done with them and wherever the daemon dies', async () => {
    const steps = fc.array(told, { minLength: 1, maxLength: 14, size: 'max' });
    await fc.assert(
      fc.asyncProperty(steps, fc.boolean(), (one, starts) => live(one, starts)),
      { numRuns: 100 },
    );
  }, 60_000);

  it('do so too on storage that keeps moments itself', async () => {
    const steps = fc.array(told, { minLength: 1, maxLength: 14, size: 'max' });
    await fc.assert(
      fc.asyncProperty(steps, fc.boolean(), (one, starts) => live(one, starts, true)),
      { numRuns: 40 },
    );
  }, 60_000);
});
