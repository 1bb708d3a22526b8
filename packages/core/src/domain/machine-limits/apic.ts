/**
 * Ids of a guest's interrupt controllers, as QEMU gives them out: a field of bits for thread, core and socket each, so that a
 * topology of odd numbers leaves gaps. Pure. Source: QEMU include/hw/i386/topology.h; Intel SDM, volume 3, chapter "APIC".
 */
import type { CpuTopology } from '@wirt/api';

/** From this id on xAPIC, with its 8 bits, does not reach a processor: 255 is its broadcast. */
export const firstWideApicId = 255;

const bitsFor = (count: number): number => Math.ceil(Math.log2(Math.max(count, 1)));

/** The highest id among all processors that the topology has room for. */
export function highestApicId({ sockets, cores, threads }: CpuTopology): number {
  const threadBits = bitsFor(threads);
  const socketShift = bitsFor(cores) + threadBits;
  // Not by shifts: 4096 of each do not fit into 32 bits.
  return (sockets - 1) * 2 ** socketShift + (cores - 1) * 2 ** threadBits + (threads - 1);
}

/** Whether a guest needs x2APIC, and interrupt remapping for its devices to reach all of its processors. */
export function needsWideApic(topology: CpuTopology): boolean {
  return highestApicId(topology) >= firstWideApicId;
}
