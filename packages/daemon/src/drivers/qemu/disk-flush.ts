// Getting a layer's tables onto the disk. QEMU keeps those of a qcow2 in memory until the guest flushes or the layer is closed;
// a copying job does neither at its end, so that the layers that it made needless would still be needed after a crash.
import type { Ask } from './control.ts';
import { nodeName } from './disk-names.ts';
import { l2CacheBytes } from './disk-nodes.ts';

export interface FlushedLayer {
  readonly number: number;
  readonly layer: string;
  /** The layer that it lies on. */
  readonly below: string | undefined;
}

/** Opens the layer anew as it is, for which QEMU writes out everything first. Throws QmpError when that fails. */
export async function flushLayer(
  ask: Ask,
  { number, layer, below }: FlushedLayer,
  signal: AbortSignal,
): Promise<void> {
  const name = nodeName({ kind: 'format', number, layer });
  const nodes = await ask('query-named-block-nodes', { flat: true }, signal);
  const node = nodes.find((each) => each['node-name'] === name);
  // A raw layer has no tables, and nothing is copied into one.
  if (node?.drv !== 'qcow2') return;
  const options = {
    driver: 'qcow2',
    'node-name': name,
    file: nodeName({ kind: 'file', number, layer }),
    backing: below === undefined ? null : nodeName({ kind: 'format', number, layer: below }),
    'read-only': node.ro,
    cache: { direct: node.cache.direct, 'no-flush': node.cache['no-flush'] },
    discard: 'unmap',
    'detect-zeroes': node.detect_zeroes,
    ...(node.ro ? {} : { 'l2-cache-size': l2CacheBytes }),
  } as const;
  await ask('blockdev-reopen', { options: [options] }, signal);
}
