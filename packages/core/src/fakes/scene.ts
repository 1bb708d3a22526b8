/**
 * A fake daemon with volumes, images and guests, for tests of disks: what they hold, what must hold of all of them at any time, and an
 * action that is cut off, or fails, at every call of a port.
 */
import type { Instance, Volume, VolumeCreate } from '@wirt/api';
import { type ChainLink, chainOf } from '../domain/layers.ts';
import { createFakeCore, type FakeCore, waitDone } from './fake-core.ts';
import type { Cut } from './grip.ts';
import { tornPlace } from './storage-state.ts';

export const mib = 2 ** 20;
export const gib = 2 ** 30;

export interface Scene {
  readonly fake: FakeCore;
  /** Makes an empty volume of 1 GiB, or what is asked for. */
  volume(name: string, input?: Partial<VolumeCreate>): Promise<Volume>;
  /** Imports an image of a disk of 1 GiB, or of a medium. */
  image(name: string, sizeBytes?: number, format?: 'qcow2' | 'iso'): Promise<string>;
  /** Makes an instance of image `micro` that has these volumes as `disk1`, `disk2`, …; running where asked. */
  guest(name: string, volumes: readonly string[], start?: boolean): Promise<Instance>;
  volumeOf(name: string): Promise<Volume>;
  all(): Promise<Volume[]>;
  /** By its guest where one runs. */
  write(name: string, place: string, word: string): Promise<void>;
  /** What a volume, or a layer of it, reads by the records; what is missing or torn shows. */
  content(ref: string, layer?: string): Promise<Record<string, string>>;
  /** When nothing is under way any more. */
  settled(): Promise<void>;
  /** What is wrong with records, storage and guests; empty at any time at which nothing is under way. */
  faults(): Promise<string[]>;
}

export async function createScene(): Promise<Scene> {
  const fake = await createFakeCore();
  const { storage } = fake.host;
  const actions = () => fake.core.actions;
  const everything = { limit: 1000, project: 'default' } as const;

  async function all(): Promise<Volume[]> {
    return (await actions().volume.list(everything)).items;
  }

  function idsOf(volumes: readonly Volume[], volume: Volume, layer = volume.status.active): string[] {
    const find = (id: string): Volume | undefined => volumes.find((one) => one.id === id);
    const links = chainOf(find, { volume: volume.id, layer });
    return links.filter(isLayer).map(({ layer }) => layer.id);
  }

  const scene: Scene = {
    fake,
    all,
    volumeOf: (name) => actions().volume.get(name),
    volume: async (name, input = {}) => {
      const source = input.source ?? { kind: 'empty' as const };
      const size = source.kind === 'empty' ? { sizeBytes: gib } : {};
      const whole = {
        name,
        project: 'default',
        labels: {},
        pool: 'default',
        format: 'qcow2',
        source,
      } as const;
      await actions().volume.create(fake.request, { ...whole, ...size, ...input }, waitDone);
      return actions().volume.get(name);
    },
    image: async (name, sizeBytes = gib, format = 'qcow2') => {
      const path = `/files/${name}.${format}`;
      storage.files.set(path, sizeBytes);
      const { target } = await actions().image.import(
        fake.request,
        { name, path, labels: {}, format },
        waitDone,
      );
      return target.id;
    },
    guest: async (name, volumes, start = true) => {
      const disks = volumes.map(
        (volume, index) => ({ name: `disk${index + 1}`, device: 'disk', volume, ...diskDefaults }) as const,
      );
      await fake.create({ name, start, spec: { disks } });
      return actions().instance.get(name);
    },
    write: async (name, place, word) => {
      const { status } = await actions().volume.get(name);
      const { attachment } = status;
      if (attachment !== undefined && fake.host.processes.has(attachment.instance))
        fake.host.write(attachment.instance, attachment.disk, place, word);
      else storage.write(status.active, place, word);
    },
    content: async (ref, layer) => storage.read(idsOf(await all(), await actions().volume.get(ref), layer)),
    settled: async () => {
      for (;;) {
        const { items } = await actions().operation.list({ limit: 1000 });
        const open = items.find(({ state }) => state === 'queued' || state === 'running');
        if (open === undefined) break;
        const { state } = await actions().operation.get(fake.request, open.id, 5);
        // Its end could not be stored: the next daemon takes it up.
        if (state === 'queued' || state === 'running') await fake.restart();
      }
      // What goes on behind the back of an operation takes no more than a few turns in memory.
      for (let turn = 0; turn < 500; turn += 1) await Promise.resolve();
    },
    faults: async () => {
      const volumes = await all();
      const instances = (await actions().instance.list(everything)).items;
      return [
        ...storage.broken,
        ...layerFaults(fake, volumes),
        ...attachmentFaults(volumes, instances),
        ...guestFaults(fake, volumes, instances, (volume) => idsOf(volumes, volume)),
        ...leftFaults(fake, instances),
      ];
    },
  };
  return scene;
}

const diskDefaults = { bus: 'virtio', pool: 'default', format: 'qcow2', readOnly: false } as const;

function isLayer(link: ChainLink): link is Extract<ChainLink, { kind: 'layer' }> {
  return link.kind === 'layer';
}

/** Every recorded layer is there and whole, and none without a record. */
function layerFaults({ host: { storage } }: FakeCore, volumes: readonly Volume[]): string[] {
  const faults: string[] = [];
  const recorded = new Set<string>();
  for (const { name, status } of volumes) {
    if (status.next !== undefined) faults.push(`${name} is still being frozen`);
    for (const { id } of status.layers) {
      recorded.add(id);
      const layer = storage.layers.get(id);
      if (layer === undefined && status.state === 'ready') faults.push(`${name} misses ${id}`);
      if (layer?.words.has(tornPlace) && status.state === 'ready') faults.push(`${name} has torn ${id}`);
    }
  }
  for (const id of storage.layers.keys()) if (!recorded.has(id)) faults.push(`${id} is nobody's`);
  return faults;
}

/** Both records say the same, and no volume is twice anywhere. */
function attachmentFaults(volumes: readonly Volume[], instances: readonly Instance[]): string[] {
  const faults: string[] = [];
  const held = new Map<string, string>();
  for (const { id, name, spec } of instances) {
    for (const disk of spec.disks) {
      if (disk.device !== 'disk') continue;
      if (held.has(disk.volume)) faults.push(`${disk.volume} is attached twice`);
      held.set(disk.volume, `${id}/${disk.name}`);
    }
    if (new Set(spec.disks.map(({ slot }) => slot)).size < spec.disks.length)
      faults.push(`${name} has a slot twice`);
    if (new Set(spec.disks.map((disk) => disk.name)).size < spec.disks.length)
      faults.push(`${name} has a name twice`);
  }
  for (const { id, name, status } of volumes) {
    const { attachment } = status;
    const says = attachment === undefined ? undefined : `${attachment.instance}/${attachment.disk}`;
    if (held.get(id) !== says) faults.push(`${name} is attached to ${says}, and not to ${held.get(id)}`);
  }
  return faults;
}

/** Guests have open what the records say, no layer is written by two, and what no guest has open is the daemon's alone. */
function guestFaults(
  { host }: FakeCore,
  volumes: readonly Volume[],
  instances: readonly Instance[],
  chain: (volume: Volume) => string[],
): string[] {
  const faults: string[] = [];
  const written = new Set<string>();
  for (const { id, name, spec } of instances) {
    const process = host.processes.get(id);
    for (const disk of spec.disks) {
      if (disk.device !== 'disk') continue;
      const volume = volumes.find((one) => one.id === disk.volume);
      const open = process?.disks.get(disk.name)?.layers.map(({ layer }) => layer);
      const stack = volume === undefined ? [] : chain(volume);
      const expected = host.storage.snapshots === 'native' ? stack.slice(-1) : stack;
      // Images are in the guest's chain, and not among the layers.
      if (
        process !== undefined &&
        open?.filter((one) => host.storage.layers.has(one)).join() !== expected.join()
      )
        faults.push(`${name} has ${disk.name} open as ${open}, and not as ${expected}`);
      const top = expected.at(-1) ?? '';
      if (process !== undefined && written.has(top)) faults.push(`${top} is written twice`);
      written.add(top);
      if (process === undefined && host.storage.grantOf(top) === 'guest')
        faults.push(`${top} is still granted`);
    }
    for (const disk of process?.disks.keys() ?? [])
      if (disk !== 'cidata' && !spec.disks.some((one) => one.name === disk))
        faults.push(`${name} has ${disk} open without a record`);
  }
  for (const { name, status } of volumes)
    if (status.attachment === undefined && host.storage.grantOf(status.active) === 'guest')
      faults.push(`${name} is granted, and attached to nobody`);
  return faults;
}

/** Nothing staged, lent or claimed for works that have ended. */
function leftFaults({ host }: FakeCore, instances: readonly Instance[]): string[] {
  const known = new Set(instances.map(({ id }) => id));
  const left = [...host.remains(), ...host.storage.remains()].filter((what) => !what.startsWith('layer '));
  return [
    ...left.filter((what) => !known.has(what.slice(what.lastIndexOf(' ') + 1).replace(/\/.*/, ''))),
    ...host.storage.lent.map((layer) => `lent ${layer}`),
  ];
}

/** When all that was under way has come to rest. */
export async function statusOf({ fake, settled }: Scene, name = 'web'): Promise<Instance['status']> {
  await settled();
  return (await fake.core.actions.instance.get(name)).status;
}

/** Lets time pass, and what is watched by the second be looked at. */
export async function pass(scene: Scene, seconds: number): Promise<void> {
  for (let second = 0; second < seconds; second += 1) {
    scene.fake.clock.advance(1_000);
    await scene.settled();
  }
}

export interface Blow {
  readonly how: Cut['how'];
  readonly call: string;
  /** What the action threw, where the daemon lived on. */
  readonly error?: unknown;
}

/**
 * Does an action once whole, and then once for each of its calls and each way of cutting it off there, each time in a new scene. After a
 * death, the next daemon has ended what was under way when `check` is called.
 */
export async function atEveryCall<T extends { readonly scene: Scene }>(
  hows: readonly Cut['how'][],
  set: () => Promise<T>,
  act: (stage: T) => Promise<unknown>,
  check: (stage: T, blow: Blow) => Promise<void>,
): Promise<number> {
  const whole = await set();
  whole.scene.fake.cut(undefined);
  await act(whole);
  const calls = [...whole.scene.fake.calls];
  for (const how of hows)
    for (const [call, name] of calls.entries()) {
      const stage = await set();
      const { fake } = stage.scene;
      fake.cut({ call, how });
      const error = await Promise.race([
        act(stage).then(
          () => undefined,
          (thrown: unknown) => thrown,
        ),
        fake.died(),
      ]);
      if (how === 'fail') fake.cut(undefined);
      else await fake.restart();
      await stage.scene.settled();
      const blow: Blow = { how, call: `${how} ${call} ${name}`, ...(error === undefined ? {} : { error }) };
      await check(stage, blow).catch((found: unknown) => {
        throw new Error(`at ${blow.call}: ${found instanceof Error ? found.message : String(found)}`, {
          cause: found,
        });
      });
    }
  return calls.length;
}

/** What comes before a call is what comes after the one before. */
export const everyDeath = ['during', 'after'] as const;
