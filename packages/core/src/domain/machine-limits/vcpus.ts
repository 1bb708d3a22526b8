/**
 * How many vCPUs a guest can have: the least of what the machine type, the accelerator and QEMU allow, as they were probed.
 * Pure. The version that would do is the only thing here that is known and not probed.
 */
import { type CpuTopology, WirtError } from '@wirt/api';
import type { Accelerator } from '../guest.ts';
import { firstWideApicId, highestApicId, needsWideApic } from './apic.ts';

export interface VcpuGround {
  readonly name: string;
  /** All that it can ever have: those that are plugged in later count. */
  readonly maxCpus: number;
  /** By default one socket of as many cores. */
  readonly topology?: CpuTopology;
  readonly machine: 'q35' | 'microvm';
  readonly accelerator: Accelerator;
  /** `maxCpus` by machine type, as `query-machines` tells it. */
  readonly qemu: { readonly version: string; readonly maxCpus: Readonly<Record<string, number>> };
  /** Of the accelerator with this machine type, tried out; undefined for a guest so small that no accelerator allows less. */
  readonly acceleratorMax: number | undefined;
}

/** Every kernel's KVM and every QEMU's TCG has allowed at least as many: only for more is the accelerator tried out. */
export const alwaysAllowed = { kvm: 64, tcg: 255 } as const satisfies Record<Accelerator, number>;

/** Without an IOMMU, which a microvm does not have, interrupts of devices reach no more. */
const withoutIommu = firstWideApicId;

/** Since when q35 allows so many (QEMU hw/i386/pc_q35.c, `max_cpus` of the older machine types); the first is the oldest that Wirt runs on. */
const versionsOfQ35 = [
  { upTo: 288, version: '7.2' },
  { upTo: 1024, version: '8.1' },
  { upTo: 4096, version: '9.0' },
] as const;
/** TCG has x2APIC since (QEMU hw/intc/apic.c, January 2024). */
const versionOfWideTcg = '9.0';

interface Limit {
  readonly max: number;
  readonly from: 'machine' | 'kvm' | 'tcg' | 'iommu';
}

/** Whether the accelerator has to be tried out before `requireVcpus` can tell. */
export function needsTrial(ground: Pick<VcpuGround, 'maxCpus' | 'topology' | 'accelerator'>): boolean {
  return ground.maxCpus > alwaysAllowed[ground.accelerator] || needsWideApic(topologyOf(ground));
}

/** Throws `instance.too_many_vcpus` with the least limit, where it comes from, and what would raise it. */
export function requireVcpus(ground: VcpuGround): void {
  const { name, maxCpus } = ground;
  const wide = needsWideApic(topologyOf(ground));
  const [least] = limitsOf(ground, wide).toSorted((a, b) => a.max - b.max);
  if (least === undefined) return;
  const byIds = wide && maxCpus <= least.max && least.max <= withoutIommu;
  if (maxCpus <= least.max && !byIds) return;
  const ids = byIds
    ? ` Its topology has gaps: the processors are numbered up to ${highestApicId(topologyOf(ground))}.`
    : '';
  throw new WirtError(
    'instance.too_many_vcpus',
    `Instance ${name} has ${maxCpus} vCPUs, and ${sourceText(least, ground)} ${least.max}.${ids}`,
    {
      hint: hintFor(least, ground, byIds),
      details: { vcpus: maxCpus, limit: least.max, from: least.from, qemuVersion: ground.qemu.version },
    },
  );
}

function topologyOf({ maxCpus, topology }: Pick<VcpuGround, 'maxCpus' | 'topology'>): CpuTopology {
  return topology ?? { sockets: 1, cores: maxCpus, threads: 1 };
}

function limitsOf({ machine, accelerator, qemu, acceleratorMax }: VcpuGround, wide: boolean): Limit[] {
  const ofMachine = qemu.maxCpus[machine];
  return [
    ...(ofMachine === undefined ? [] : [{ max: ofMachine, from: 'machine' } as const]),
    ...(acceleratorMax === undefined ? [] : [{ max: acceleratorMax, from: accelerator } as const]),
    ...(machine === 'microvm' && wide ? [{ max: withoutIommu, from: 'iommu' } as const] : []),
  ];
}

function sourceText({ from }: Limit, { machine, qemu }: VcpuGround): string {
  switch (from) {
    case 'machine':
      return `machine type ${machine} of QEMU ${qemu.version} allows`;
    case 'tcg':
      return `TCG, the software emulation of QEMU ${qemu.version}, allows`;
    case 'kvm':
      return `KVM of this host’s kernel allows`;
    case 'iommu':
      return `a microvm, which has no IOMMU to carry interrupts further, allows`;
  }
}

function hintFor({ from, max }: Limit, ground: VcpuGround, byIds: boolean): string {
  const less = byIds
    ? 'Give it a topology whose numbers are powers of two, or'
    : `Give it at most ${max} with \`--cpus\` (or \`maxCpus\`), or`;
  switch (from) {
    case 'machine':
    case 'tcg': {
      const version = versionFor(ground);
      if (version === undefined) return `${less.slice(0, -4)}: no QEMU allows more.`;
      return `${less} use QEMU ${version} or newer, named by \`wirtd --qemu\`.`;
    }
    case 'kvm':
      return `${less} boot a kernel with a larger CONFIG_KVM_MAX_NR_VCPUS.`;
    case 'iommu':
      return `${less} create it with \`--machine q35\`.`;
  }
}

/** The first QEMU that allows so many; undefined when none does. */
function versionFor({ machine, accelerator, maxCpus, topology }: VcpuGround): string | undefined {
  if (machine === 'microvm') return maxCpus > withoutIommu ? undefined : versionsOfQ35[0].version;
  const found = versionsOfQ35.find(({ upTo }) => maxCpus <= upTo)?.version;
  if (found === undefined) return undefined;
  const wide = needsWideApic(topologyOf({ maxCpus, ...(topology === undefined ? {} : { topology }) }));
  return accelerator === 'tcg' && wide ? versionOfWideTcg : found;
}
