/**
 * A host in memory, for tests of actions: hypervisor, sandbox, control groups, image files and inspector over one set of
 * objects, so that a test can ask what is left. It outlives the actions, as a real host outlives the daemon.
 */
import { WirtError } from '@wirt/api';
import type { DiskSource } from '../domain/disk-source.ts';
import type { GuestExit, LaunchPlan } from '../domain/guest.ts';
import type { HostInspector } from '../ports/host-inspector.ts';
import type { Guest, GuestDisks, GuestEvent, Hypervisor } from '../ports/hypervisor.ts';
import type { ImageFiles } from '../ports/image-files.ts';
import type { ResourceControl } from '../ports/resource-control.ts';
import type { Sandbox } from '../ports/sandbox.ts';
import { createFakeStorage, type FakeStorage } from './fake-storage.ts';

interface FakeProcess {
  readonly pid: number;
  readonly uuid: string;
  processors: 'running' | 'paused';
  agent: boolean;
  responsive: boolean;
  /** Whether the guest acts on its power button. */
  obeysPowerButton: boolean;
  diskError: 'no-space' | 'io-error' | undefined;
  /** What freezing the guest's file systems does. */
  freeze: () => Promise<number>;
  frozen: boolean;
  /** Ids of layers by disk, from the base on. */
  readonly disks: Map<string, string[]>;
  readonly listeners: Set<(event: GuestEvent) => void>;
  end(exit: GuestExit): void;
  readonly exited: Promise<GuestExit>;
}

export interface FakeHost {
  readonly storage: FakeStorage;
  readonly hypervisor: Hypervisor;
  readonly sandbox: Sandbox;
  readonly resources: ResourceControl;
  readonly inspector: HostInspector;
  readonly imageFiles: ImageFiles;
  readonly processes: Map<string, FakeProcess>;
  /** Everything on the host that carries an id: must be empty when no guest runs. */
  remains(): string[];
  /** The kernel kills the guest's process for memory. */
  runOutOfMemory(id: string): void;
  /** Ends a guest's process as if it had ended by itself. */
  end(id: string, exit: Partial<GuestExit>): void;
  emit(id: string, event: GuestEvent): void;
  bootId: string;
  availableMib: number;
}

function layersOf(source: DiskSource | undefined): string[] {
  return source?.layers.map(({ layer }) => layer) ?? [];
}

function disksOf(process: FakeProcess, storage: FakeStorage): GuestDisks {
  return {
    attach: ({ name, source }) => {
      if (process.disks.has(name))
        return Promise.reject(new WirtError('instance.state_conflict', `${name} is there.`));
      process.disks.set(name, layersOf(source));
      return Promise.resolve();
    },
    detach: (name) => {
      process.disks.delete(name);
      return Promise.resolve();
    },
    resize: () => Promise.resolve(),
    changeMedium: (name, source) => {
      process.disks.set(name, layersOf(source));
      return Promise.resolve();
    },
    overlay: (overlays) => {
      for (const { disk, layer } of overlays) process.disks.get(disk)?.push(layer.layer);
      return Promise.resolve();
    },
    chains: () => Promise.resolve(new Map(process.disks)),
    pull: ({ disk, layer, base }) => {
      const chain = process.disks.get(disk) ?? [];
      const from = base === undefined ? 0 : chain.indexOf(base) + 1;
      const to = chain.indexOf(layer);
      for (const [place, word] of Object.entries(storage.read(chain.slice(from, to + 1))))
        storage.write(layer, place, word);
      chain.splice(from, to - from);
      return Promise.resolve();
    },
  };
}

const cleanExit: GuestExit = { process: { kind: 'exited', code: 0 }, lastLine: '' };
export const killedExit: GuestExit = { process: { kind: 'signalled', signal: 'SIGKILL' }, lastLine: '' };

export function createFakeHost(): FakeHost {
  const storage = createFakeStorage();
  const processes = new Map<string, FakeProcess>();
  const ended = new Map<string, GuestExit>();
  const uids = new Map<string, number>();
  const groups = new Map<string, number>();
  const runFiles = new Set<string>();
  const logs = new Set<string>();
  const images = new Set<string>();
  let nextPid = 1000;

  function start({ id, uuid, disks }: LaunchPlan): FakeProcess {
    const { promise, resolve } = Promise.withResolvers<GuestExit>();
    const pid = nextPid;
    nextPid += 1;
    const process: FakeProcess = {
      pid,
      uuid,
      processors: 'paused',
      agent: false,
      responsive: true,
      obeysPowerButton: true,
      diskError: undefined,
      freeze: () => Promise.resolve(1),
      frozen: false,
      disks: new Map(disks.map(({ name, source }) => [name, layersOf(source)])),
      listeners: new Set(),
      exited: promise,
      end: (exit) => {
        processes.delete(id);
        ended.set(id, exit);
        resolve(exit);
      },
    };
    processes.set(id, process);
    return process;
  }

  function control(id: string, process: FakeProcess): Guest {
    const change = (processors: 'running' | 'paused'): Promise<void> => {
      process.processors = processors;
      if (processors === 'running') process.diskError = undefined;
      for (const listener of process.listeners)
        listener({ kind: processors === 'running' ? 'resumed' : 'paused' });
      return Promise.resolve();
    };
    return {
      id,
      process: { pid: process.pid, startTicks: 1, uid: uids.get(id) ?? 0, gid: 0 },
      console: { replay: () => new Uint8Array(), listen: () => () => undefined, write: () => undefined },
      agent: {
        exec: () => Promise.resolve({ exitCode: 0, stdout: '', stderr: '', truncated: false }),
        readFile: async function* () {},
        writeFile: () => Promise.resolve(),
        freeze: async () => {
          const count = await process.freeze();
          process.frozen = true;
          return count;
        },
        thaw: () => {
          process.frozen = false;
          return Promise.resolve();
        },
        addresses: () => Promise.resolve(['10.0.2.15']),
      },
      disks: disksOf(process, storage),
      get state() {
        const { processors, agent, responsive, diskError } = process;
        return { processors, agent, responsive, diskError };
      },
      resume: () => change('running'),
      pause: () => change('paused'),
      reset: () => Promise.resolve(),
      powerDown: () => {
        if (process.obeysPowerButton && process.processors === 'running') process.end(cleanExit);
        return Promise.resolve();
      },
      kill: () => {
        process.end(killedExit);
        return Promise.resolve();
      },
      exited: process.exited,
      listen: (listener) => {
        process.listeners.add(listener);
        return () => process.listeners.delete(listener);
      },
      detach: () => process.listeners.clear(),
    };
  }

  const hypervisor: Hypervisor = {
    launch: async (plan, _confinement, { signal, onStep }) => {
      await onStep('directory');
      runFiles.add(plan.id);
      logs.add(plan.id);
      await onStep('spawn');
      if (processes.has(plan.id)) throw new Error(`${plan.id} was started twice`);
      const process = start(plan);
      try {
        await onStep('connect');
        signal.throwIfAborted();
      } catch (error) {
        process.end(killedExit);
        throw error;
      }
      return control(plan.id, process);
    },
    discover: () =>
      Promise.resolve(
        [...processes].map(([id, { pid }]) => ({ id, process: { pid, startTicks: 1, uid: 0, gid: 0 } })),
      ),
    attach: ({ id }) => {
      const process = processes.get(id);
      return process === undefined
        ? Promise.reject(new Error(`${id} is gone`))
        : Promise.resolve(control(id, process));
    },
    postMortem: (id) => Promise.resolve(ended.get(id) ?? { process: { kind: 'lost' }, lastLine: '' }),
    list: () => Promise.resolve([...runFiles]),
    clean: (id) => {
      if (processes.has(id)) throw new Error(`${id} was cleaned while it runs`);
      runFiles.delete(id);
      return Promise.resolve();
    },
    kill: ({ id }) => {
      processes.get(id)?.end(killedExit);
      return Promise.resolve();
    },
    forget: (id) => {
      logs.delete(id);
      return Promise.resolve();
    },
    readLog: async function* () {},
  };

  const host: FakeHost = {
    storage,
    hypervisor,
    sandbox: {
      claim: (id) => {
        const uid = uids.get(id) ?? 700_000 + uids.size;
        uids.set(id, uid);
        return Promise.resolve({ uid, gid: uid, groups: [], own: true });
      },
      release: (id) => {
        uids.delete(id);
        return Promise.resolve();
      },
      claimed: () => Promise.resolve([...uids.keys()]),
      inspect: () => Promise.reject(new WirtError('internal', 'A fake host has no /proc.')),
    },
    resources: {
      create: (id) => {
        groups.set(id, 0);
        return Promise.resolve({ joinFiles: [] });
      },
      remove: (id) => {
        processes.get(id)?.end(killedExit);
        groups.delete(id);
        return Promise.resolve();
      },
      list: () => Promise.resolve([...groups.keys()]),
      oomKills: (id) => Promise.resolve(groups.get(id) ?? 0),
    },
    inspector: {
      inspect: () => Promise.reject(new WirtError('internal', 'A fake host is not inspected.')),
      check: () => Promise.resolve([]),
      requireQemu: () => Promise.resolve({ version: 'fake' }),
      memory: () => Promise.resolve({ totalMib: 4096, availableMib: host.availableMib }),
      accelerator: () => Promise.resolve('tcg'),
      bootId: () => Promise.resolve(host.bootId),
    },
    imageFiles: {
      stage: (id) => {
        images.add(id);
        return Promise.resolve(`/fake/${id}`);
      },
      publish: (id, key) => {
        images.delete(id);
        images.add(key);
        return Promise.resolve();
      },
      path: (id, file) => `/fake/${id}/${file}`,
      remove: (id) => {
        images.delete(id);
        return Promise.resolve();
      },
      list: () => Promise.resolve([...images]),
    },
    processes,
    remains: () => [
      ...[...processes.keys()].map((id) => `process ${id}`),
      ...[...uids.keys()].map((id) => `uid ${id}`),
      ...[...groups.keys()].map((id) => `group ${id}`),
      ...[...runFiles].map((id) => `run files ${id}`),
    ],
    runOutOfMemory: (id) => {
      groups.set(id, 1);
      processes.get(id)?.end(killedExit);
    },
    end: (id, exit) => processes.get(id)?.end({ ...cleanExit, ...exit }),
    emit: (id, event) => {
      for (const listener of processes.get(id)?.listeners ?? []) listener(event);
    },
    bootId: 'boot-1',
    availableMib: 4096,
  };
  return host;
}
