/** A guest's process in memory, with its disks and its agent, and the daemon's control of it. */
import { type ExecResult, WirtError } from '@wirt/api';
import type { DiskLayerNode, DiskSource } from '../domain/disk-source.ts';
import type { GuestExit, PlannedDisk, PlannedNic } from '../domain/guest.ts';
import type { Guest, GuestDisks, GuestEvent, GuestNics } from '../ports/hypervisor.ts';
import { wordsOf } from './fake-pool.ts';
import type { FakeTuning } from './fake-tuning.ts';
import type { FakeStorage } from './storage-state.ts';

export interface FakeDisk {
  readonly device: 'disk' | 'cdrom';
  readonly slot: number;
  readonly writes: boolean;
  /** From the base on. */
  layers: DiskLayerNode[];
}

export interface FakeProcess {
  readonly pid: number;
  readonly uuid: string;
  processors: 'running' | 'paused';
  agent: boolean;
  responsive: boolean;
  /** Whether the guest acts on its power button. */
  obeysPowerButton: boolean;
  diskError: 'no-space' | 'io-error' | undefined;
  /** What freezing and thawing the guest's file systems do. */
  freeze: (signal: AbortSignal) => Promise<number>;
  thaw: () => Promise<number>;
  frozen: boolean;
  /** Whether the guest gives a disk or a card up. */
  letsGo: boolean;
  exec: (signal: AbortSignal) => Promise<ExecResult>;
  addresses: (signal: AbortSignal) => Promise<string[]>;
  readonly disks: Map<string, FakeDisk>;
  readonly nics: Map<string, PlannedNic>;
  readonly tuning: FakeTuning;
  /** Awaited before it is paused or resumed. */
  command: (what: 'pause' | 'resume') => Promise<void>;
  /** Throws what an overlay is to fail with, before or after it is done. */
  overlayFails: { readonly when: 'before' | 'after'; readonly error: Error } | undefined;
  readonly listeners: Set<(event: GuestEvent) => void>;
  end(exit: GuestExit): void;
  readonly exited: Promise<GuestExit>;
}

export const cleanExit: GuestExit = { process: { kind: 'exited', code: 0 }, lastLine: '' };
export const killedExit: GuestExit = { process: { kind: 'signalled', signal: 'SIGKILL' }, lastLine: '' };

export const succeeded: ExecResult = { exitCode: 0, stdout: '', stderr: '', truncated: false };

/** As QEMU would open it. Throws when another has it, or it may not be opened. */
export function openDisk(storage: FakeStorage, { device, readOnly, slot, source }: PlannedDisk): FakeDisk {
  const layers = [...(source?.layers ?? [])];
  const top = layers.at(-1)?.layer ?? '';
  const writes = device === 'disk' && !readOnly;
  if (writes && storage.useOf(top) === 'written')
    throw new WirtError('volume.locked', `Another process has ${top} open.`);
  for (const { layer, location } of layers) {
    if (!location.path.startsWith('/pool/')) continue;
    if (!['guest', 'shared'].includes(storage.grantOf(layer)))
      throw new WirtError('instance.start_failed', `Could not open ${layer}: ${storage.grantOf(layer)}.`);
  }
  return { device, slot, writes, layers };
}

function chainOf(disk: FakeDisk | undefined): string[] {
  return disk?.layers.map(({ layer }) => layer) ?? [];
}

function overlay(process: FakeProcess, storage: FakeStorage): GuestDisks['overlay'] {
  return async (overlays) => {
    const { overlayFails } = process;
    if (overlayFails?.when === 'before') throw overlayFails.error;
    for (const { disk, layer } of overlays) {
      const grant = storage.grantOf(layer.layer);
      if (process.disks.get(disk) === undefined || grant !== 'guest')
        throw new WirtError('snapshot.failed', `${disk} cannot go on with ${layer.layer}: ${grant}.`);
    }
    for (const { disk, layer } of overlays) process.disks.get(disk)?.layers.push(layer);
    if (overlayFails?.when === 'after') throw overlayFails.error;
  };
}

function pull(process: FakeProcess, storage: FakeStorage): GuestDisks['pull'] {
  return async ({ disk: name, layer, base }, { signal, onProgress }) => {
    signal.throwIfAborted();
    const disk = process.disks.get(name);
    const from = base === undefined ? 0 : chainOf(disk).indexOf(base) + 1;
    const to = chainOf(disk).indexOf(layer);
    if (disk === undefined || to < 0 || (base !== undefined && from === 0))
      throw new WirtError('volume.failed', `${name} has no ${layer} over ${base}.`);
    onProgress(1, 1);
    for (const [place, word] of wordsOf(storage, { layers: disk.layers.slice(from, to + 1) })) {
      storage.write(layer, place, word);
      await storage.halfway();
    }
    disk.layers.splice(from, to - from);
  };
}

function disksOf(process: FakeProcess, storage: FakeStorage): GuestDisks {
  return {
    attach: async (planned) => {
      if (process.disks.has(planned.name))
        throw new WirtError('instance.state_conflict', `${planned.name} is there.`);
      process.disks.set(planned.name, openDisk(storage, planned));
    },
    detach: async (name) => {
      if (!process.letsGo && process.disks.has(name))
        throw new WirtError('volume.detach_refused', `${name} is not let go.`);
      process.disks.delete(name);
    },
    resize: async (name, sizeBytes) => {
      const top = storage.layers.get(chainOf(process.disks.get(name)).at(-1) ?? '');
      if (top === undefined) throw new WirtError('volume.failed', `There is no ${name}.`);
      top.sizeBytes = sizeBytes;
    },
    changeMedium: async (name, source: DiskSource | undefined) => {
      const disk = process.disks.get(name);
      if (disk !== undefined) disk.layers = [...(source?.layers ?? [])];
    },
    overlay: overlay(process, storage),
    chains: async () => new Map([...process.disks].map(([name, disk]) => [name, chainOf(disk)])),
    pull: pull(process, storage),
  };
}

function nicsOf(process: FakeProcess): GuestNics {
  return {
    attach: async (nic) => {
      if (process.nics.has(nic.name)) throw new WirtError('instance.state_conflict', `${nic.name} is there.`);
      process.nics.set(nic.name, nic);
    },
    detach: async (name) => {
      if (!process.letsGo && process.nics.has(name))
        throw new WirtError('network.detach_refused', `${name} is not let go.`);
      process.nics.delete(name);
    },
    list: async () => [...process.nics.keys()],
  };
}

/** `uid` of the identity it runs as. */
export function controlOf(id: string, uid: number, process: FakeProcess, storage: FakeStorage): Guest {
  const tell = (event: GuestEvent): void => {
    for (const listener of process.listeners) listener(event);
  };
  const change = async (processors: 'running' | 'paused'): Promise<void> => {
    await process.command(processors === 'running' ? 'resume' : 'pause');
    process.processors = processors;
    if (processors === 'running') process.diskError = undefined;
    tell({ kind: processors === 'running' ? 'resumed' : 'paused' });
  };
  return {
    id,
    process: { pid: process.pid, startTicks: 1, uid, gid: 0 },
    console: { replay: () => new Uint8Array(), listen: () => () => undefined, write: () => undefined },
    agent: {
      exec: (_command, signal) => process.exec(signal),
      readFile: async function* () {},
      writeFile: () => Promise.resolve(),
      freeze: async (signal) => {
        process.frozen = true;
        return process.freeze(signal);
      },
      thaw: async () => {
        const count = await process.thaw();
        process.frozen = false;
        return count;
      },
      addresses: (signal) => process.addresses(signal),
    },
    disks: disksOf(process, storage),
    nics: nicsOf(process),
    tuning: process.tuning,
    get state() {
      const { processors, agent, responsive, diskError } = process;
      return { processors, agent, responsive, diskError };
    },
    resume: () => change('running'),
    pause: () => change('paused'),
    reset: () => Promise.resolve(),
    powerDown: async () => {
      if (process.obeysPowerButton && process.processors === 'running') process.end(cleanExit);
    },
    kill: async () => process.end(killedExit),
    exited: process.exited,
    listen: (listener) => {
      process.listeners.add(listener);
      return () => process.listeners.delete(listener);
    },
    detach: () => process.listeners.clear(),
  };
}
