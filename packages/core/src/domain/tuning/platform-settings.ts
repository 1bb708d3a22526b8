/** Says what a guest is given beside processors, memory, disks and cards, and what a wide one takes for its interrupts, and why. Pure. */
import type { CpuTopology, Instance, TuningSetting } from '@wirt/api';
import { needsWideApic } from '../machine-limits/apic.ts';
import { hasRandomness } from '../microvm.ts';

/** More processors than an interrupt's message has numbers for. */
export function wideSettings(
  { spec, status }: Pick<Instance, 'spec' | 'status'>,
  { accelerator, topology }: { readonly accelerator: 'kvm' | 'tcg'; readonly topology: CpuTopology },
): TuningSetting[] {
  // A microvm is refused so many.
  if (spec.machine !== 'q35' || !needsWideApic(topology)) return [];
  const hasDevices = (status.devices ?? spec.devices ?? []).length > 0;
  const settings: TuningSetting[] = [
    {
      setting: 'x2apic',
      value: 'yes',
      from: 'default',
      why: 'A processor is numbered beyond 254, and xAPIC has 8 bits for a number.',
    },
    {
      setting: 'iommu',
      value: hasDevices ? 'interrupts, caching mode' : 'interrupts',
      from: 'default',
      why: `Messages of devices have 8 bits for a processor, and are remapped to reach all${hasDevices ? '; QEMU takes devices of the host only with caching mode' : ''}. It remaps no memory.`,
    },
  ];
  if (accelerator === 'kvm')
    settings.push({
      setting: 'irqchip',
      value: 'split',
      from: 'default',
      why: 'KVM keeps the interrupt controllers of processors, and QEMU that of devices, which it then can remap.',
    });
  return settings;
}

const ofChipset = {
  watchdog: {
    value: 'TCO, resets',
    why: 'A guest that feeds it (`iTCO_wdt`) and then hangs is reset.',
    is: 'A watchdog',
  },
  pvpanic: {
    value: 'yes',
    why: 'A panic of its kernel is seen, also when no daemon is there.',
    is: 'A device that tells of panics',
  },
  vmgenid: {
    value: 'yes',
    why: 'It tells the guest that it was turned back or copied.',
    is: 'The number of its generation',
  },
} as const;

/** What every guest is given, as far as its machine has a place for it. */
export function platformSettings({ spec, status }: Pick<Instance, 'spec' | 'status'>): TuningSetting[] {
  const { machine, nics, disks } = spec;
  const vsock = (status.run ?? spec).vsock === true;
  const isThere = hasRandomness({ machine, nics, disks, vsock });
  const rng: TuningSetting = isThere
    ? {
        ...{ setting: 'virtio-rng', value: '64 KiB/s', from: 'default' },
        why: 'Randomness from its first moment, and not so much that it takes from others.',
      }
    : {
        ...{ setting: 'virtio-rng', value: 'no', from: 'spec' },
        why: 'Its disks and cards have all places of a microvm.',
        better: 'A source of randomness, on the machine q35.',
      };
  return [
    rng,
    ...Object.entries(ofChipset).map(
      ([setting, { value, why, is }]): TuningSetting =>
        machine === 'q35'
          ? { setting, value, from: 'default', why }
          : {
              ...{ setting, value: 'no', from: 'spec', why: 'A microvm has no place for it.' },
              better: `${is}, on the machine q35.`,
            },
    ),
  ];
}
