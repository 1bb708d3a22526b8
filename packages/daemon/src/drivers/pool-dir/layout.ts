/**
 * Where everything of a pool lies in its directory. Pure; no name that leads elsewhere becomes a path.
 */
import { join } from 'node:path';
import { type VolumeFormat, WirtError } from '@wirt/api';
import type { LayerRef } from '@wirt/core';

export interface PoolPaths {
  readonly root: string;
  /** Says whose pool it is. */
  readonly marker: string;
  readonly volumes: string;
}

export const layerFormats = ['qcow2', 'raw'] as const satisfies readonly VolumeFormat[];

const ulid = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/;
const layerName = /^([0-7][0-9A-HJKMNP-TV-Z]{25})\.(?:qcow2|raw)$/;

export function poolPaths(root: string): PoolPaths {
  return {
    root,
    marker: join(root, 'wirt-pool.json'),
    volumes: join(root, 'volumes'),
  };
}

export function isId(name: string): boolean {
  return ulid.test(name);
}

export function volumeDirectory({ volumes }: PoolPaths, volume: string): string {
  return join(volumes, checkId(volume));
}

export function layerPath(paths: PoolPaths, { volume, layer }: LayerRef, format: VolumeFormat): string {
  return join(volumeDirectory(paths, volume), `${checkId(layer)}.${format}`);
}

/** The id of the layer whose file has this name; undefined for what is no layer's. */
export function layerIdOf(fileName: string): string | undefined {
  return layerName.exec(fileName)?.[1];
}

function checkId(id: string): string {
  if (isId(id)) return id;
  throw new WirtError('internal', `${JSON.stringify(id)} cannot be the id of a volume or a layer.`);
}
