// What a guest with many processors or much memory takes beside their number: interrupts that reach every processor, and
// addresses that reach every byte. Pure. Guests that fit without are told nothing.
// Source: QEMU hw/i386/{x86,pc}.c (apic_id_limit; pc_max_used_gpa and the 1 TiB hole of AMD), hw/i386/intel_iommu.c; Linux drivers/iommu/intel/dmar.c.
import { type LaunchPlan, needsWideApic } from '@wirt/core';

type WidePlan = Pick<LaunchPlan, 'machine' | 'accelerator' | 'cpus' | 'maxCpus' | 'placement'>;

type Plan = Pick<
  LaunchPlan,
  | 'machine'
  | 'accelerator'
  | 'cpuModel'
  | 'cpus'
  | 'maxCpus'
  | 'memoryMib'
  | 'maxMemoryMib'
  | 'placement'
  | 'devices'
>;

/** The guest then has an IOMMU. */
export function isWide({ machine, cpus, maxCpus, placement }: Omit<WidePlan, 'accelerator'>): boolean {
  const cores = Math.max(cpus, maxCpus);
  return machine === 'q35' && needsWideApic(placement?.topology ?? { sockets: 1, cores, threads: 1 });
}

/** KVM keeps the interrupt controllers of processors, and leaves the one of devices to QEMU, which then can remap. */
export function irqchip(plan: WidePlan): string[] {
  return isWide(plan) && plan.accelerator === 'kvm' ? ['kernel-irqchip=split'] : [];
}

/**
 * An IOMMU that remaps interrupts and nothing else: devices keep the guest's own addresses, so that DMA costs nothing more and devices of
 * the host can be passed on. Linux understands such a one since 5.11.
 */
export function interruptRemapping(plan: Plan): string[] {
  // QEMU starts no guest with an IOMMU and a device of the host without it (vtd_machine_done_notify_one).
  const caching = (plan.devices ?? []).length === 0 ? '' : ',caching-mode=on';
  return isWide(plan)
    ? ['-device', `intel-iommu,intremap=on,eim=on,dma-translation=off${caching},id=iommu0`]
    : [];
}

/** What every processor has where nothing is said (QEMU, TCG_PHYS_ADDR_BITS). */
const usualBits = 40;
const gib = 1024;
/** Below 4 GiB are devices; above memory comes their 64-bit window. */
const besideMemoryMib = (4 + 32) * gib;
/** A guest that would reach into it has its memory moved above 1 TiB. */
const amdHoleMib = 1012 * gib;
const tebiMib = 1024 * gib;

/** How many bits of address the guest's memory takes. */
function addressBits({ memoryMib, maxMemoryMib }: Plan): number {
  const endMib = Math.max(memoryMib, maxMemoryMib) + besideMemoryMib;
  return Math.ceil(Math.log2(endMib > amdHoleMib ? endMib + tebiMib : endMib)) + 20;
}

/** QEMU's `-cpu`. The processor of the host itself has as many bits as it has. */
export function processor(plan: Plan): string {
  const bits = addressBits(plan);
  const isHost = /^host(,|$)/.test(plan.cpuModel);
  return bits > usualBits && !isHost ? `${plan.cpuModel},phys-bits=${bits}` : plan.cpuModel;
}
