/** What QEMU needs beside the memory of its guest, as it is counted on for a ceiling. An upper bound, not an estimate: reaching a ceiling kills. */
import type { Instance } from '@wirt/api';

/** Code, heap and stacks: 50 to 70 MiB resident were measured for a guest with one disk and one card. */
const baseMib = 96;
const perCpuMib = 2;
/** The cache for a qcow2’s second table, which is let grow to this, and requests under way. */
const perDiskMib = 64 + 8;
const perQueueMib = 1;
/** Of page tables: 8 bytes for each page of 4 KiB, and they are charged to the group. */
const pageTablesShare = 8 / 4096;
/** TCG’s buffer of translated code grows to an eighth of the host’s memory, up to this (QEMU accel/tcg, default of `tb-size`). */
const translatedMib = 1024;

export function qemuMemoryMib(
  { memoryMib, maxMemoryMib, cpus, maxCpus, disks, nics }: Instance['spec'],
  { accelerator, hostMib }: { readonly accelerator: 'kvm' | 'tcg'; readonly hostMib: number },
): number {
  const vcpus = Math.max(cpus, maxCpus ?? 0);
  const queues = nics.length * Math.min(vcpus, 8);
  const tables = Math.max(memoryMib, maxMemoryMib ?? 0) * pageTablesShare;
  const code = accelerator === 'tcg' ? Math.min(translatedMib, hostMib / 8) : 0;
  return Math.ceil(
    baseMib + vcpus * perCpuMib + disks.length * perDiskMib + queues * perQueueMib + tables + code,
  );
}
