/**
 * The layers of a disk as QEMU's block nodes: each says its format, its file and what lies under it, so that nothing is taken
 * from a header. Pure. Source: QEMU qapi/block-core.json, BlockdevOptions.
 */
import type { DiskSource } from '@wirt/core';

export type BlockNode = Readonly<Record<string, unknown>>;

/** Id of the node of the layer with this place in the chain. */
export function nodeName(index: number): string {
  return `layer${index}`;
}

/** And of its file. */
export function fileNodeName(index: number): string {
  return `file${index}`;
}

/** One node within the other: for a program that is given one image. */
export function nestedNode({ layers }: DiskSource): BlockNode {
  let below: BlockNode | null = null;
  for (const layer of layers) {
    const { driver, path } = layer.location;
    below = {
      driver: layer.format,
      file: { driver, filename: path },
      ...(layer.format === 'qcow2' ? { backing: below } : {}),
    };
  }
  if (below === null) throw new RangeError('a disk has at least one layer');
  return below;
}

/** One node a layer, named, from the base on; the last one is written. */
export function namedNodes({ layers }: DiskSource): BlockNode[] {
  return layers.map(({ format, location }, index) => {
    const readOnly = index < layers.length - 1;
    return {
      driver: format,
      'node-name': nodeName(index),
      'read-only': readOnly,
      file: {
        driver: location.driver,
        'node-name': fileNodeName(index),
        filename: location.path,
        'read-only': readOnly,
      },
      ...(format === 'qcow2' ? { backing: index === 0 ? null : nodeName(index - 1) } : {}),
    };
  });
}
