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
  | { readonly kind: 'snapshot' | 'start' | 'stop' | 'restart' }
  | { readonly kind: 'restore' | 'remove'; readonly which: number }
  | { readonly kind: 'clone'; readonly disk: number; readonly mode: 'linked' | 'full' }
  | { readonly kind: 'flatten'; readonly disk: number; readonly keepImage: boolean }
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
    arbitrary: fc.record({ kind: fc.constant('flatten' as const), disk: index, keepImage: fc.boolean() }),
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

/** Does the step, and gives back what the model becomes when it is done; undefined where there is nothing to do it with. */
function prepare(
  { fake, write }: Scene,
  model: Model,
  one: Step,
): { readonly act: () => Promise<unknown>; readonly then: () => void } | undefined {
  const { instance, snapshot, volume } = fake.core.actions;
  const { request } = fake;
  model.count += 1;
  const { count } = model;
  const nothing = (): void => undefined;
  switch (one.kind) {
    case 'write': {
      const disk = pick(disks, one.disk) ?? 'a';
      const place = `p${one.place}`;
      return {
        act: () => write(disk, place, `w${count}`),
        then: () => model.disks.set(disk, { ...model.disks.get(disk), [place]: `w${count}` }),
      };
    }
    case 'snapshot':
      return {
        act: () =>
          snapshot.create(request, 'vm', { name: `s${count}`, labels: {}, freeze: 'auto' }, waitDone),
        then: () => {
          model.snapshots.set(`s${count}`, { content: new Map(model.disks), parent: model.current });
          model.current = `s${count}`;
        },
      };
    case 'start':
      return { act: () => instance.start(request, 'vm', { paused: false }, waitDone), then: nothing };
    case 'stop':
      return {
        act: () => instance.stop(request, 'vm', { mode: 'force', graceSeconds: 0 }, waitDone),
        then: nothing,
      };
    case 'restart':
      return { act: () => fake.restart(), then: nothing };
    case 'restore': {
      const name = pick([...model.snapshots.keys()], one.which);
      if (name === undefined) return undefined;
      return {
        act: () => snapshot.restore(request, 'vm', name, waitDone),
        then: () => {
          for (const [disk, content] of model.snapshots.get(name)?.content ?? [])
            model.disks.set(disk, content);
          model.current = name;
        },
      };
    }
    case 'remove': {
      const name = pick([...model.snapshots.keys()], one.which);
      if (name === undefined) return undefined;
      return {
        act: () => snapshot.remove(request, 'vm', name, waitDone),
        then: () => {
          const parent = model.snapshots.get(name)?.parent;
          model.snapshots.delete(name);
          for (const other of model.snapshots.values()) if (other.parent === name) other.parent = parent;
          if (model.current === name) model.current = parent;
        },
      };
    }
    case 'clone': {
      const disk = pick(disks, one.disk) ?? 'a';
      return cloneOf(disk, one.mode, () => model.disks.get(disk) ?? {});
    }
    case 'flatten': {
      const disk = pick(disks, one.disk) ?? 'a';
      return { act: () => volume.flatten(request, disk, waitDone), then: nothing };
    }
    case 'write-clone':
    case 'remove-clone':
    case 'flatten-clone':
    case 'clone-clone': {
      const name = pick([...model.clones.keys()], one.which);
      return name === undefined ? undefined : onClone(one.kind, name);
    }
  }

  function cloneOf(from: string, mode: 'linked' | 'full', content: () => Content) {
    const source = { kind: 'volume', volume: from, mode } as const;
    const whole = { project: 'default', labels: {}, pool: 'default', format: 'qcow2' } as const;
    return {
      act: () => volume.create(request, { ...whole, name: `c${count}`, source }, waitDone),
      then: () => model.clones.set(`c${count}`, content()),
    };
  }

  function onClone(kind: 'write-clone' | 'remove-clone' | 'flatten-clone' | 'clone-clone', name: string) {
    switch (kind) {
      case 'write-clone':
        return {
          act: () => write(name, 'p0', `w${count}`),
          then: () => model.clones.set(name, { ...model.clones.get(name), p0: `w${count}` }),
        };
      case 'remove-clone':
        return {
          act: () => volume.remove(request, name, waitDone),
          then: () => model.clones.delete(name),
        };
      case 'flatten-clone':
        return { act: () => volume.flatten(request, name, waitDone), then: nothing };
      case 'clone-clone':
        return cloneOf(name, 'linked', () => model.clones.get(name) ?? {});
    }
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
  for (const [name, content] of [...model.disks, ...model.clones])
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
  await scene.settled();
  if (done ?? (await wasDone(scene, before))) todo.then();
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
    const steps = fc.array(told, { minLength: 1, maxLength: 14 });
    await fc.assert(
      fc.asyncProperty(steps, fc.boolean(), (one, starts) => live(one, starts)),
      { numRuns: 100 },
    );
  }, 60_000);

  it('do so too on storage that keeps moments itself', async () => {
    const steps = fc.array(told, { minLength: 1, maxLength: 14 });
    await fc.assert(
      fc.asyncProperty(steps, fc.boolean(), (one, starts) => live(one, starts, true)),
      { numRuns: 40 },
    );
  }, 60_000);
});
