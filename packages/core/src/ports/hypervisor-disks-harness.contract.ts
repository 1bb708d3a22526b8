// What a driver's test lends the suite of a guest's disks, and what its parts share.
import type { DiskLayerNode } from '../domain/disk-source.ts';
import type { PlannedDisk } from '../domain/guest.ts';
import type { HypervisorHarness } from './hypervisor.contract.ts';
import type { Guest } from './hypervisor.ts';

export interface DiskHarness {
  /** An empty layer that the guest may open. */
  makeLayer(options?: {
    readonly sizeBytes?: number;
    readonly format?: DiskLayerNode['format'];
  }): Promise<DiskLayerNode>;
  /** One that is not there. */
  missingLayer(): Promise<DiskLayerNode>;
  /**
   * A layer to boot from: says "ready"; for each `w` typed writes on its disk and says `+`, or `!` when it failed; after a `b`
   * writes for ever to its own disk and then to the second one a number that grows, and says `.` each time.
   */
  makeBootLayer(): Promise<DiskLayerNode>;
  /** A layer of that many bytes of data. */
  makeFullLayer(dataBytes: number): Promise<DiskLayerNode>;
  sizeOf(layer: DiskLayerNode): Promise<number>;
  /** Throws when the layer is damaged. */
  check(layer: DiskLayerNode): Promise<void>;
  /** The number last written, as it is read from the base on. */
  readNumber(chain: readonly DiskLayerNode[]): Promise<number>;
  /** For layers that are full after some 2 MB, until room is made. Undefined for a user who may not mount one. */
  readonly smallFileSystem:
    | (() => Promise<{ makeLayer(): Promise<DiskLayerNode>; makeRoom(): Promise<void> }>)
    | undefined;
}

export interface HypervisorDisksHarness extends HypervisorHarness {
  readonly disks: DiskHarness;
}

/** What the suite gives its parts: the hypervisor and the layers of the test that runs. */
export interface DisksBench {
  launch(disks: readonly PlannedDisk[]): Promise<Guest>;
  /** One that boots from its first disk. */
  boot(disks: readonly PlannedDisk[]): Promise<Guest>;
  /** The guest as the next daemon finds it. */
  restarted(guest: Guest): Promise<Guest>;
  readonly makeLayer: DiskHarness['makeLayer'];
  disks(): DiskHarness;
}

export const never: AbortSignal = new AbortController().signal;
export const mib = 1024 * 1024;

export function disk(name: string, slot: number, layers: readonly DiskLayerNode[]): PlannedDisk {
  return { name, device: 'disk', bus: 'virtio', readOnly: false, serial: name, slot, source: { layers } };
}

/** Resolves when the guest's console has shown `words`. */
export async function says(
  guest: Guest,
  words: string,
  since: 'ever' | 'from now on' = 'ever',
): Promise<void> {
  let seen = since === 'ever' ? Buffer.from(guest.console.replay()).toString() : '';
  if (seen.includes(words)) return;
  const done = Promise.withResolvers<void>();
  const stop = guest.console.listen((data) => {
    seen += Buffer.from(data).toString();
    if (seen.includes(words)) done.resolve();
  });
  const ended = guest.exited.then(() => {
    throw new Error(`The guest ended before it said "${words}".`);
  });
  await Promise.race([done.promise, ended]).finally(stop);
}
