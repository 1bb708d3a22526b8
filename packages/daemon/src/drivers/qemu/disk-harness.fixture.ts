// For tests: layers made with qemu-img, which the guest's user may open; a disk with a boot sector; a file system that is
// soon full; and looking into layers by means of qemu-img alone.
import { execFile } from 'node:child_process';
import { chmod, chown, mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { DiskLayerNode, Identity } from '@wirt/core';
import { bootSector, numberOffset } from './boot-sector.fixture.ts';

const run = promisify(execFile);
const mib = 1024 * 1024;
const smallBytes = 2 * mib;

export interface LayerOptions {
  readonly sizeBytes?: number;
  readonly format?: DiskLayerNode['format'];
}

/** Fits the contract suite's `DiskHarness`. */
export function makeDisks(directory: string, identity: Identity) {
  let count = 0;
  const mounted: string[] = [];

  const place = async (folder: string, format: DiskLayerNode['format']): Promise<DiskLayerNode> => {
    count += 1;
    const layer = `01K${String(process.pid).padStart(8, '0')}${String(count).padStart(15, '0')}`;
    await mkdir(folder, { recursive: true });
    return {
      layer,
      format,
      location: { driver: 'file', path: join(folder, `${layer}.${format}`) },
      direct: true,
    };
  };
  const give = async ({ location: { path } }: DiskLayerNode): Promise<void> => {
    await chown(path, identity.uid, identity.gid);
    await chmod(path, 0o600);
  };
  const create = async (layer: DiskLayerNode, sizeBytes: number): Promise<DiskLayerNode> => {
    await run('qemu-img', ['create', '-q', '-f', layer.format, layer.location.path, String(sizeBytes)]);
    await give(layer);
    return layer;
  };
  const layers = join(directory, 'layers');
  const smallFileSystem = async () => {
    const folder = join(directory, `small${mounted.length}`);
    await mkdir(folder, { mode: 0o755 });
    await run('mount', ['-t', 'tmpfs', '-o', `size=${smallBytes},mode=755`, 'wirt-test', folder]);
    mounted.push(folder);
    return {
      makeLayer: async () => ({
        ...(await create(await place(folder, 'qcow2'), 64 * mib)),
        direct: false,
      }),
      makeRoom: async () => {
        await run('mount', ['-o', `remount,size=${64 * mib}`, folder]);
      },
    };
  };

  return {
    makeLayer: async ({ sizeBytes = 64 * mib, format = 'qcow2' }: LayerOptions = {}) =>
      create(await place(layers, format), sizeBytes),
    missingLayer: () => place(layers, 'qcow2'),
    async makeBootLayer() {
      const layer = await create(await place(layers, 'raw'), 64 * mib);
      await using file = await open(layer.location.path, 'r+');
      await file.write(bootSector(), 0, 512, 0);
      return layer;
    },
    async makeFullLayer(dataBytes: number) {
      const raw = await place(layers, 'raw');
      await writeFile(raw.location.path, Buffer.alloc(dataBytes, 7));
      const layer = await place(layers, 'qcow2');
      await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw.location.path, layer.location.path]);
      await give(layer);
      return layer;
    },
    async sizeOf({ location, format }: DiskLayerNode): Promise<number> {
      const { stdout } = await run('qemu-img', ['info', '-U', '-f', format, '--output=json', location.path]);
      return JSON.parse(stdout)['virtual-size'];
    },
    async check({ location, format }: DiskLayerNode) {
      if (format !== 'qcow2') return;
      await run('qemu-img', ['check', '-q', '-f', format, location.path]).catch(
        (error: { code?: unknown }) => {
          // 3: space that nothing refers to, as a QEMU leaves it that was killed.
          if (error.code !== 3) throw error;
        },
      );
    },
    async readNumber(chain: readonly DiskLayerNode[]) {
      const copy = await place(layers, 'raw');
      await run('qemu-img', ['convert', options(chain), '-O', 'raw', copy.location.path]);
      await using file = await open(copy.location.path, 'r');
      const { buffer } = await file.read(Buffer.alloc(4), 0, 4, numberOffset);
      return buffer.readUInt32LE();
    },
    smallFileSystem: process.geteuid?.() === 0 ? smallFileSystem : undefined,
    async [Symbol.asyncDispose]() {
      for (const folder of mounted) await run('umount', ['-l', folder]);
    },
  };
}

/** A chain as qemu-img takes it, from the base on. */
function options(chain: readonly DiskLayerNode[]): string {
  const node = chain.reduce<object | null>(
    (backing, { format, location: { driver, path } }) => ({
      driver: format,
      file: { driver, filename: path },
      ...(format === 'qcow2' ? { backing } : {}),
    }),
    null,
  );
  return `json:${JSON.stringify(node)}`;
}
