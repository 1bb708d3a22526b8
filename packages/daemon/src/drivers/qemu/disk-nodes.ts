// The block nodes of a disk: for each layer one that opens the file and one that knows its format, from the base on. Pure.
// Everything is said, so that nothing follows from a header: format, backing, locking, how the host caches.
// Source: QEMU qapi/block-core.json (BlockdevOptions), docs/qcow2-cache.txt.
import type { DiskLayerNode, DiskSource, PlannedDisk } from '@wirt/core';
import type { QmpArguments } from '@wirt/qemu';
import { nodeName, throttleName } from './disk-names.ts';

export type BlockNode = QmpArguments<'blockdev-add'>;
export type Aio = 'io_uring' | 'native' | 'threads';

/** How blocks are read and written where the storage takes direct I/O, and where it does not. */
export interface AioChoice {
  readonly direct: Aio;
  readonly cached: Aio;
}

/** At 8 bytes for a cluster of 64 KiB, the whole table of a disk of 512 GiB. QEMU takes of it what the disk needs. */
export const l2CacheBytes = 64 * 1024 * 1024;

/** The group of all disks of a guest, an object that it always has; without limits it holds nothing up. */
export const throttleGroup = 'limits0';

export interface NodeOptions {
  /** See `disk-names.ts`. */
  readonly number: number;
  readonly readOnly: boolean;
  /** Whether it is held to the limits of all disks together. */
  readonly throttled: boolean;
  readonly aio: AioChoice;
}

/** Media are exchanged under the drive, and are held to no common limit. */
export function isThrottled({ device }: Pick<PlannedDisk, 'device'>): boolean {
  return device === 'disk';
}

/** In the order in which QEMU must be told. The last one is what the device is given. */
export function diskNodes(source: DiskSource, options: NodeOptions): BlockNode[] {
  const { layers } = source;
  const { number, readOnly } = options;
  const nodes = layers.flatMap((layer, index) => {
    const below = layers[index - 1];
    const writable = index === layers.length - 1 && !readOnly;
    const backing = below && nodeName({ kind: 'format', number, layer: below.layer });
    return layerNodes(layer, { ...options, writable, backing });
  });
  const top = layers.at(-1);
  return top !== undefined && options.throttled ? [...nodes, throttleNode(top, source, options)] : nodes;
}

/** A filter that stays the uppermost node when the disk gets another layer. */
function throttleNode(
  { direct }: DiskLayerNode,
  source: DiskSource,
  { number, readOnly }: NodeOptions,
): BlockNode {
  return {
    driver: 'throttle',
    'node-name': throttleName(number),
    file: topNode(source, number),
    'throttle-group': throttleGroup,
    'read-only': readOnly,
    cache: { direct, 'no-flush': false },
    discard: 'unmap',
  };
}

/** An overlay that has no backing as yet: QEMU gives it one when it is switched to it. */
export function overlayNodes(
  layer: DiskLayerNode,
  { number, aio }: Pick<NodeOptions, 'number' | 'aio'>,
): BlockNode[] {
  return layerNodes(layer, { number, aio, writable: true, backing: undefined });
}

/** The node of its uppermost layer. */
function topNode({ layers }: DiskSource, number: number): string {
  return nodeName({ kind: 'format', number, layer: layers.at(-1)?.layer ?? '' });
}

/** What the device of a disk is given. */
export function deviceNode(
  source: DiskSource,
  { number, throttled }: Pick<NodeOptions, 'number' | 'throttled'>,
): string {
  return throttled ? throttleName(number) : topNode(source, number);
}

interface LayerOptions {
  readonly number: number;
  readonly aio: AioChoice;
  readonly writable: boolean;
  readonly backing: string | undefined;
}

function layerNodes(layer: DiskLayerNode, { number, aio, writable, backing }: LayerOptions): BlockNode[] {
  const file = nodeName({ kind: 'file', number, layer: layer.layer });
  const cache = { direct: layer.direct, 'no-flush': false };
  const shared = {
    'node-name': nodeName({ kind: 'format', number, layer: layer.layer }),
    file,
    'read-only': !writable,
    cache,
    discard: 'unmap',
    'detect-zeroes': writable ? 'unmap' : 'off',
  } as const;
  return [
    {
      driver: layer.location.driver,
      'node-name': file,
      filename: layer.location.path,
      aio: layer.direct ? aio.direct : aio.cached,
      cache,
      locking: 'on',
      discard: 'unmap',
      // A frozen layer is opened for reading until QEMU itself has to write it, when the layers below are pulled into it.
      'read-only': false,
      'auto-read-only': !writable,
    },
    layer.format === 'raw'
      ? { driver: 'raw', ...shared }
      : {
          driver: 'qcow2',
          ...shared,
          backing: backing ?? null,
          ...(writable ? { 'l2-cache-size': l2CacheBytes } : {}),
        },
  ];
}
