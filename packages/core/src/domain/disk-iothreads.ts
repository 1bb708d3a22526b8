/**
 * Over how many threads the queues of a virtio disk are spread, and whether QEMU can do that and stay whole. Pure.
 * Source: QEMU qapi/virtio.json (IOThreadVirtQueueMapping), hw/block/virtio-blk.c, block/throttle-groups.c.
 */

/** A guest of four vCPUs seldom asks for more than one thread does; each thread more has an io_uring of its own, and wakes up for itself. */
export const queuesPerIothread = 4;
/** Some 100,000 operations a second each: four are what one fast disk gives. */
export const maxIothreadsPerDisk = 4;

export interface QueueAbility {
  /** As QEMU says it, `10.0.13`. */
  readonly version: string;
  /** Whether its virtio-blk has the property `iothread-vq-mapping`. */
  readonly mapsQueues: boolean;
}

/**
 * QEMU stood still for ever when queues of one disk on several threads came up against a limit (its issue 3144), and ended when limits were shared
 * between disks and it was unlucky (3194). Every disk here may be limited at any time. A mistake is in no answer over QMP: what is
 * known to be mended is this release of a line of fixes, by the changelog of Debian, and all lines from the one after.
 */
const mended = { line: '10.0', micro: 10, from: 11 } as const;

/** A thread for each four queues, four at most; one where QEMU cannot spread them. */
export function iothreadsPerDisk(queues: number, qemu: QueueAbility): number {
  return spreading(qemu) === 'yes' ? wantedIothreads(queues) : 1;
}

export function wantedIothreads(queues: number): number {
  return Math.min(Math.max(1, Math.ceil(queues / queuesPerIothread)), maxIothreadsPerDisk);
}

/** `no`: it has not learned it; `unsafe`: it has, and could stand still. */
export function spreading({ version, mapsQueues }: QueueAbility): 'yes' | 'no' | 'unsafe' {
  if (!mapsQueues) return 'no';
  const [major = 0, minor = 0, micro = 0] = version.split('.').map(Number);
  if (major >= mended.from) return 'yes';
  return `${major}.${minor}` === mended.line && micro >= mended.micro ? 'yes' : 'unsafe';
}
