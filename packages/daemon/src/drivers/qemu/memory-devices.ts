// The devices by which a guest's memory is changed while it runs: the balloon, which takes pages away, and virtio-mem, which gives more
// than there was at the start. Pure. Their places on the root bus are kept, whatever else is plugged in.
// Source: QEMU hw/virtio/virtio-balloon.c, hw/virtio/virtio-mem.c; Linux drivers/virtio/virtio_mem.c, arch/x86/mm/init_64.c (memory blocks).
import type { LaunchPlan } from '@wirt/core';
import type { DeviceProperties } from './disk-devices.ts';
import { type MemoryPlan, memoryRegionMib, pluggedBackend, type SharedMemory } from './memory-nodes.ts';

export const balloonDevice = 'balloon0';
export const memoryDevice = 'memory0';
const memoryBackend = 'ram1';

/** In which steps the guest is given memory: that of a huge page. */
export const memoryBlockMib = 2;

type Plan = Pick<LaunchPlan, 'machine' | 'freePageReporting'>;

export function balloon({ machine, freePageReporting }: Plan): DeviceProperties {
  return {
    driver: `virtio-balloon-${machine === 'q35' ? 'pci' : 'device'}`,
    id: balloonDevice,
    ...(machine === 'q35' ? { 'disable-legacy': 'on', bus: 'pcie.0', addr: '0x3' } : {}),
    // A guest that runs short takes pages back before it kills a process.
    'deflate-on-oom': true,
    'free-page-reporting': freePageReporting,
  };
}

export interface Hotplug {
  readonly backend: { readonly 'qom-type': string; readonly id: string };
  readonly device: DeviceProperties;
}

/** Undefined where there is no such region. */
export function memoryHotplug(plan: MemoryPlan, shared: SharedMemory): Hotplug | undefined {
  const regionMib = memoryRegionMib(plan);
  if (regionMib === 0) return undefined;
  const backend = {
    ...pluggedBackend(plan, shared),
    id: memoryBackend,
    size: regionMib * 1024 * 1024,
    // Nothing is taken from the host before the guest has it.
    reserve: false,
  };
  const device = {
    driver: 'virtio-mem-pci',
    id: memoryDevice,
    'disable-legacy': 'on',
    bus: 'pcie.0',
    addr: '0x4',
    memdev: memoryBackend,
    'block-size': memoryBlockMib * 1024 * 1024,
    'requested-size': 0,
  };
  return { backend, device };
}
