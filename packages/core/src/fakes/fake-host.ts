/**
 * A host in memory, for tests of actions: hypervisor, sandbox, control groups, image files and inspector over one set of
 * objects, so that a test can ask what is left. It outlives the actions, as a real host outlives the daemon.
 */
import { type HostCpuModels, WirtError } from '@wirt/api';
import type { GuestExit, LaunchPlan } from '../domain/guest.ts';
import type { GroupLimitKey, GroupLimits } from '../domain/limits/group-limits.ts';
import type { HostInspector } from '../ports/host-inspector.ts';
import type { GuestEvent, Hypervisor } from '../ports/hypervisor.ts';
import type { ImageFiles } from '../ports/image-files.ts';
import type { ResourceControl } from '../ports/resource-control.ts';
import type { Sandbox } from '../ports/sandbox.ts';
import { createFakeDevices, type FakeDevices } from './fake-devices.ts';
import { cleanExit, controlOf, type FakeProcess, killedExit, openDisk, succeeded } from './fake-guest.ts';
import { createFakeNetwork, type FakeNetwork } from './fake-network.ts';
import { wordsOf } from './fake-pool.ts';
import { createFakeStorage, type FakeStorage } from './fake-storage.ts';
import { createFakeTopology, type FakeTopology } from './fake-topology.ts';
import { createFakeTuning } from './fake-tuning.ts';

export { killedExit } from './fake-guest.ts';

/** A processor with two features, and a model with one of them and one that it lacks. */
const fakeCpu: HostCpuModels = {
  architecture: 'x86_64',
  accelerator: 'tcg',
  qemuVersion: 'fake',
  vendor: 'Fake',
  features: ['aes', 'sse'],
  unmigratable: [],
  models: [{ name: 'Fake-v1', vendor: 'Fake', features: ['avx', 'sse'], unavailable: ['avx'] }],
  aliases: { Fake: 'Fake-v1' },
};

export interface FakeHost {
  readonly storage: FakeStorage;
  readonly network: FakeNetwork;
  readonly devices: FakeDevices;
  readonly topology: FakeTopology;
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
  /** The guest writes to a disk of its. */
  write(id: string, disk: string, place: string, word: string): void;
  /** What the guest reads of a disk of its. */
  read(id: string, disk: string): Record<string, string>;
  /** What each control group is held to. */
  readonly groupLimits: Map<string, GroupLimits>;
  /** Limits that this host cannot keep. */
  readonly groupRefuses: Map<GroupLimitKey, { readonly why: string; readonly hint: string }>;
  /** What holding a group to its limits fails with. */
  groupFails: Error | undefined;
  bootId: string;
  /** Below 11 none that spreads queues of a disk over threads. */
  qemuVersion: string;
  /** Whether it has the device for it. */
  vsock: boolean;
  /** CIDs that other programs have. */
  readonly takenCids: Set<number>;
  availableMib: number;
}

export function createFakeHost(): FakeHost {
  const storage = createFakeStorage();
  const network = createFakeNetwork();
  const topology = createFakeTopology();
  const processes = new Map<string, FakeProcess>();
  const ended = new Map<string, GuestExit>();
  const uids = new Map<string, number>();
  const groups = new Map<string, number>();
  const groupLimits = new Map<string, GroupLimits>();
  const runFiles = new Set<string>();
  const logs = new Set<string>();
  const images = new Set<string>();
  let nextPid = 1000;
  storage.useOf = (layer) => {
    const open = [...processes.values()].flatMap(({ disks }) => [...disks.values()]);
    const using = open.filter(({ layers }) => layers.some((one) => one.layer === layer));
    if (using.some(({ writes, layers }) => writes && layers.at(-1)?.layer === layer)) return 'written';
    return using.length > 0 || storage.lent.includes(layer) ? 'read' : undefined;
  };

  function start(plan: LaunchPlan): FakeProcess {
    const { id, uuid, disks, nics } = plan;
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
      thaw: () => Promise.resolve(1),
      frozen: false,
      letsGo: true,
      exec: () => Promise.resolve(succeeded),
      addresses: () => Promise.resolve(['10.0.2.15']),
      disks: new Map(disks.map((disk) => [disk.name, openDisk(storage, disk)])),
      nics: new Map(nics.map((nic) => [nic.name, nic])),
      tuning: createFakeTuning(plan),
      command: () => Promise.resolve(),
      overlayFails: undefined,
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

  const control = (id: string, process: FakeProcess) => controlOf(id, uids.get(id) ?? 0, process, storage);

  const hypervisor: Hypervisor = {
    launch: async (plan, _confinement, { signal, onStep }) => {
      await onStep('directory');
      runFiles.add(plan.id);
      logs.add(plan.id);
      await onStep('spawn');
      if (processes.has(plan.id)) throw new Error(`${plan.id} was started twice`);
      if (plan.vsockCid !== undefined && host.takenCids.has(plan.vsockCid))
        throw new WirtError('host.vsock_cid_taken', `Another program has the address ${plan.vsockCid}.`);
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

  const devices = createFakeDevices();

  const host: FakeHost = {
    storage,
    devices,
    topology,
    network,
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
        groupLimits.set(id, groupLimits.get(id) ?? {});
        return Promise.resolve({ joinFiles: [] });
      },
      remove: (id) => {
        processes.get(id)?.end(killedExit);
        groups.delete(id);
        groupLimits.delete(id);
        return Promise.resolve();
      },
      limit: (id, limits) => {
        if (host.groupFails !== undefined) return Promise.reject(host.groupFails);
        groupLimits.set(id, limits);
        return Promise.resolve();
      },
      limits: (id) => Promise.resolve(groupLimits.get(id)),
      refuses: (key) => host.groupRefuses.get(key),
      usage: () => undefined,
      list: () => Promise.resolve([...groups.keys()]),
      oomKills: (id) => Promise.resolve(groups.get(id) ?? 0),
    },
    inspector: {
      inspect: () => Promise.reject(new WirtError('internal', 'A fake host is not inspected.')),
      check: () => Promise.resolve([]),
      requireQemu: () =>
        Promise.resolve({
          version: host.qemuVersion,
          maxCpus: { q35: 288, microvm: 288 },
          features: { 'iothread-vq-mapping': true, 'vhost-vsock': true },
        }),
      hasVsock: () => Promise.resolve(host.vsock),
      acceleratorVcpus: () => Promise.resolve(255),
      cpuModels: (accelerator) => Promise.resolve({ ...fakeCpu, accelerator }),
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
      ...devices.remains(),
      ...network.plan.ports.map(({ nic, instance }) => `port ${nic} ${instance}`),
    ],
    runOutOfMemory: (id) => {
      groups.set(id, 1);
      processes.get(id)?.end(killedExit);
    },
    end: (id, exit) => processes.get(id)?.end({ ...cleanExit, ...exit }),
    emit: (id, event) => {
      for (const listener of processes.get(id)?.listeners ?? []) listener(event);
    },
    write: (id, disk, place, word) => {
      const top = processes.get(id)?.disks.get(disk)?.layers.at(-1)?.layer ?? '';
      if (!storage.layers.has(top)) storage.broken.push(`${disk} of ${id} writes nowhere`);
      storage.write(top, place, word);
    },
    read: (id, disk) =>
      Object.fromEntries(wordsOf(storage, { layers: processes.get(id)?.disks.get(disk)?.layers ?? [] })),
    groupLimits,
    groupRefuses: new Map(),
    groupFails: undefined,
    bootId: 'boot-1',
    qemuVersion: 'fake',
    vsock: true,
    takenCids: new Set(),
    availableMib: 4096,
  };
  return host;
}
