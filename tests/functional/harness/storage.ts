// Volumes, disks and snapshots of a test daemon in few words, a shell in its guests, and what lies in its pools.
import { execFile } from 'node:child_process';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Instance, Operation, Snapshot, Volume } from '@wirt/api';
import type { CallInput } from '@wirt/api/client';
import type { TestDaemon } from './daemon.ts';

export const run = promisify(execFile);
export const mib = 1024 * 1024;
export const done = { query: { wait: 'done' } } as const;

type VolumeCreate = CallInput<'POST /v1/volumes'>['body'];
type DiskAttach = CallInput<'POST /v1/instances/{instance}/disks'>['body'];
type SnapshotCreate = CallInput<'POST /v1/instances/{instance}/snapshots'>['body'];
type InstanceCreate = CallInput<'POST /v1/instances'>['body'];

/** Before every script: `disk NAME` waits for the guest's disk of this name and says its device. */
const preamble = `
disk() {
  tries=0
  while [ $tries -lt 500 ]; do
    for each in /sys/class/block/vd*; do
      [ "$(cat $each/serial 2>/dev/null)" = "$1" ] && echo /dev/\${each##*/} && return
    done
    usleep 20000
    tries=$((tries + 1))
  done
  echo "no disk $1" >&2
  return 1
}
set -e
`;

export interface Storage {
  volume(name: string, more?: Partial<VolumeCreate>): Promise<Volume>;
  show(volume: string): Promise<Volume>;
  removeVolume(volume: string): Promise<Operation>;
  resize(volume: string, sizeBytes: number): Promise<Operation>;
  flatten(volume: string): Promise<Operation>;
  attach(instance: string, volume: string, more?: Partial<DiskAttach>): Promise<Operation>;
  detach(instance: string, disk: string): Promise<Operation>;
  snapshot(instance: string, name: string, more?: SnapshotCreate): Promise<Snapshot>;
  snapshots(instance: string): Promise<Snapshot[]>;
  restore(instance: string, snapshot: string): Promise<Operation>;
  removeSnapshot(instance: string, snapshot: string): Promise<Operation>;
  /** A small guest that runs, and whose agent answers. */
  guest(name: string, spec?: InstanceCreate['spec']): Promise<Instance>;
  instance(name: string): Promise<Instance>;
  /** Waits until the guest's agent answers, as after a restart of wirtd. */
  agentAnswers(instance: string): Promise<void>;
  startGuest(name: string): Promise<void>;
  stopGuest(name: string): Promise<void>;
  /** Runs the script in the guest, which must end with 0; gives what it wrote, without the last line's end. */
  sh(instance: string, script: string): Promise<string>;
  /** Files of layers in a pool, by default the default pool. */
  layerFiles(pool?: string): Promise<string[]>;
  /** What `qemu-img check` complains about in each layer of the pool, none of which may be open. */
  damaged(pool?: string): Promise<string[]>;
  /** Files in the pools, of images and of transfers, that no record accounts for; but downloads that broke off, which are kept. */
  strays(): Promise<string[]>;
}

export function storageOf(daemon: TestDaemon): Storage {
  const { client, stateDirectory } = daemon;
  const of = (instance: string) => ({ params: { instance } });
  const defaultPool = join(stateDirectory, 'pools/default');
  const storage: Storage = {
    async volume(name, more = {}) {
      const size = more.source === undefined ? { sizeBytes: 16 * mib } : {};
      await client.call('POST /v1/volumes', { body: { name, ...size, ...more }, ...done });
      return storage.show(name);
    },
    show: (volume) => client.call('GET /v1/volumes/{volume}', { params: { volume } }),
    removeVolume: (volume) => client.call('DELETE /v1/volumes/{volume}', { params: { volume }, ...done }),
    resize: (volume, sizeBytes) =>
      client.call('POST /v1/volumes/{volume}/resize', { params: { volume }, body: { sizeBytes }, ...done }),
    flatten: (volume) => client.call('POST /v1/volumes/{volume}/flatten', { params: { volume }, ...done }),
    attach: (instance, volume, more = {}) =>
      client.call('POST /v1/instances/{instance}/disks', {
        ...of(instance),
        body: { volume, name: volume, ...more },
        ...done,
      }),
    detach: (instance, disk) =>
      client.call('DELETE /v1/instances/{instance}/disks/{disk}', { params: { instance, disk }, ...done }),
    async snapshot(instance, name, more = {}) {
      await client.call('POST /v1/instances/{instance}/snapshots', {
        ...of(instance),
        body: { name, ...more },
        ...done,
      });
      const params = { instance, snapshot: name };
      return client.call('GET /v1/instances/{instance}/snapshots/{snapshot}', { params });
    },
    snapshots: async (instance) =>
      (await client.call('GET /v1/instances/{instance}/snapshots', of(instance))).items,
    restore: (instance, snapshot) =>
      client.call('POST /v1/instances/{instance}/snapshots/{snapshot}/restore', {
        params: { instance, snapshot },
        ...done,
      }),
    removeSnapshot: (instance, snapshot) =>
      client.call('DELETE /v1/instances/{instance}/snapshots/{snapshot}', {
        params: { instance, snapshot },
        ...done,
      }),
    async guest(name, spec = {}) {
      await client.call('POST /v1/instances', {
        body: { name, start: true, spec: { image: 'micro', memoryMib: 96, ...spec } },
        query: { wait: 'ready' },
      });
      return storage.instance(name);
    },
    instance: (name) => client.call('GET /v1/instances/{instance}', of(name)),
    async agentAnswers(name) {
      const over = new AbortController();
      const signal = AbortSignal.any([over.signal, AbortSignal.timeout(60_000)]);
      try {
        // From the beginning of the log, so that nothing between looking and listening is missed.
        for await (const _ of client.events({ since: 0 }, signal))
          if ((await storage.instance(name)).status.agent) return;
      } catch (error) {
        throw new Error(`the agent of ${name} does not answer`, { cause: error });
      } finally {
        over.abort();
      }
    },
    startGuest: async (name) =>
      void (await client.call('POST /v1/instances/{instance}/start', {
        ...of(name),
        body: {},
        query: { wait: 'ready' },
      })),
    stopGuest: async (name) =>
      void (await client.call('POST /v1/instances/{instance}/stop', {
        ...of(name),
        body: { mode: 'force' },
        ...done,
      })),
    async sh(instance, script) {
      const { exitCode, stdout, stderr } = await client.call('POST /v1/instances/{instance}/exec', {
        ...of(instance),
        body: { argv: ['/bin/sh', '-c', preamble + script] },
      });
      if (exitCode === 0) return atob(stdout).trimEnd();
      throw new Error(`in ${instance}: ${script} ended with ${exitCode}: ${atob(stderr)} ${atob(stdout)}`);
    },
    layerFiles: (pool = defaultPool) => filesBelow(join(pool, 'volumes')),
    async damaged(pool = defaultPool) {
      const found = await Promise.all((await storage.layerFiles(pool)).map(complaint));
      return found.filter((each) => each !== undefined);
    },
    async strays() {
      const { items: volumes } = await client.call('GET /v1/volumes', {});
      const known = new Set(volumes.flatMap(({ status }) => status.layers.map(({ id }) => id)));
      const { items: pools } = await client.call('GET /v1/pools', {});
      const inPools = await Promise.all(
        pools.map(async ({ spec }) => [
          ...(await filesBelow(join(spec.path, 'volumes'))),
          ...(await filesBelow(join(spec.path, 'lent'))),
        ]),
      );
      const { items: images } = await client.call('GET /v1/images', {});
      const keys = images.map(({ id, status }) =>
        status.sha256 === undefined ? id : `sha256-${status.sha256}`,
      );
      const ofImages = await filesBelow(join(stateDirectory, 'images'));
      return [
        ...inPools.flat().filter((path) => !known.has(/([0-9A-Z]{26})\.\w+$/.exec(path)?.[1] ?? '')),
        ...ofImages.filter((path) => !keys.some((key) => path.includes(`/${key}/`))),
        ...(await filesBelow(join(stateDirectory, 'transfers'))).filter(
          (path) => !path.includes('/transfers/download-'),
        ),
      ];
    },
  };
  return storage;
}

async function filesBelow(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true, recursive: true }).catch(() => []);
  return entries.filter((entry) => !entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name));
}

/** Undefined when the image is sound, without errors and without leaks. A raw file has nothing to check. */
export async function complaint(path: string): Promise<string | undefined> {
  if (!path.endsWith('.qcow2')) return undefined;
  return run('qemu-img', ['check', '-f', 'qcow2', path]).then(
    () => undefined,
    (error: { stdout: string; stderr: string }) => `${path}: ${error.stdout}${error.stderr}`,
  );
}

/** `r`, `w`, both or nothing: how a user without any group or right but its own may open the file. */
export async function mayOpen(uid: number, path: string): Promise<string> {
  const may = (how: string): Promise<string> =>
    run('setpriv', [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', 'test', `-${how}`, path]).then(
      () => how,
      () => '',
    );
  return (await may('r')) + (await may('w'));
}

/** The owner of a file, and its mode in octal. */
export async function ownerOf(path: string): Promise<{ uid: number; mode: string }> {
  const { uid, mode } = await stat(path);
  return { uid, mode: (mode & 0o777).toString(8) };
}
