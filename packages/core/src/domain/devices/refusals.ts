// Why a PCI device cannot be handed to a guest. Pure; over an inventory that was just read.
import { type ErrorCode, WirtError } from '@wirt/api';
import { type DeviceUse, isPciBridge, isVfioDriver, type PciDevice } from './pci-device.ts';

export interface DeviceRefusal {
  readonly code: Extract<ErrorCode, `device.${string}`>;
  readonly message: string;
  readonly hint: string;
  readonly details: Readonly<Record<string, unknown>>;
}

/**
 * The first reason, the gravest before the others; undefined: it can be bound. `together`: addresses of others that leave the
 * host with it.
 */
export function bindRefusal(
  device: PciDevice,
  inventory: readonly PciDevice[],
  together: readonly string[] = [],
): DeviceRefusal | undefined {
  const hung = [device, ...inventory.filter(({ address }) => device.groupMembers.includes(address))].find(
    ({ stuck }) => stuck !== undefined,
  );
  if (hung?.stuck !== undefined) return stuckRefusal(hung.address, hung.stuck);
  return (
    kindRefusal(device) ??
    useRefusal(device) ??
    iommuRefusal(device) ??
    groupRefusal(device, inventory, together)
  );
}

export function refusalError({ code, message, hint, details }: DeviceRefusal): WirtError {
  return new WirtError(code, message, { hint, details });
}

export function noSuchDevice(address: string): WirtError {
  return new WirtError('device.not_found', `The host has no PCI device ${JSON.stringify(address)}.`, {
    hint: 'See `wirt host device ls`; an address is written in full, as in 0000:03:00.0.',
    details: { address },
  });
}

/** Throws `device.not_found`. */
export function requireDevice(address: string, inventory: readonly PciDevice[]): PciDevice {
  const device = inventory.find((each) => each.address === address);
  if (device === undefined) throw noSuchDevice(address);
  return device;
}

/** The kernel hangs with it: whoever does something with the device waits behind that. */
export function stuckRefusal(address: string, operation: string): DeviceRefusal {
  return {
    code: 'device.bind_failed',
    message: `PCI device ${address} is stuck: it was to be ${operation}, and the kernel has not answered since.`,
    hint: 'See `dmesg | tail` for what hangs. It can be used when the kernel is through, or after a restart of the host; other devices can all the time.',
    details: { address, stuck: operation },
  };
}

function kindRefusal({ address, kind }: PciDevice): DeviceRefusal | undefined {
  if (kind !== 'bridge') return undefined;
  return {
    code: 'device.unsupported',
    message: `PCI device ${address} is a bridge, which no guest can be given.`,
    hint: 'Name a device behind it; see `wirt host device ls`.',
    details: { address },
  };
}

/** The host's own use of the device itself. */
export function useRefusal({ address, inUse }: PciDevice): DeviceRefusal | undefined {
  if (inUse.length === 0) return undefined;
  return {
    code: 'device.in_use',
    message: `PCI device ${address} is in use by the host: ${inUse.map(useSentence).join(', ')}.`,
    hint: 'Take it out of use first, or choose another device; see `wirt host device ls`.',
    details: { address, inUse },
  };
}

function iommuRefusal({ address, iommuGroup }: PciDevice): DeviceRefusal | undefined {
  if (iommuGroup !== undefined) return undefined;
  return {
    code: 'device.unsupported',
    message: `PCI device ${address} has no IOMMU group, so that nothing would keep a guest from the host's memory.`,
    hint: 'Turn the IOMMU on (VT-d or AMD-Vi) in the firmware, and on Intel add intel_iommu=on to the kernel command line; then restart the host.',
    details: { address },
  };
}

/**
 * Members of one IOMMU group reach each other's memory: all have to leave the host together. PCI bridges do no harm, nor do
 * members that have no driver or that are with VFIO (Linux, driver-api/vfio.rst). The group then still belongs to one
 * process: two guests cannot have two of its members.
 */
export function groupRefusal(
  device: PciDevice,
  inventory: readonly PciDevice[],
  together: readonly string[] = [],
): DeviceRefusal | undefined {
  const members = inventory.filter(
    (other) =>
      device.groupMembers.includes(other.address) &&
      !(together.includes(other.address) && other.inUse.length === 0) &&
      !isPciBridge(other) &&
      other.driver !== undefined &&
      other.driver !== 'pci-stub' &&
      !isVfioDriver(other.driver),
  );
  if (members.length === 0) return undefined;
  const { address, iommuGroup: group } = device;
  return {
    code: 'device.group_shared',
    message: `PCI device ${address} shares IOMMU group ${group} with ${members.map(memberPhrase).join(' and ')}.`,
    hint: 'Unbind those from their drivers where the host can do without, put the card into another slot, or use a virtual function.',
    details: {
      address,
      group,
      members: members.map((member) => ({
        address: member.address,
        kind: member.kind,
        driver: member.driver,
        inUse: member.inUse,
      })),
    },
  };
}

function memberPhrase({ address, kind, driver, inUse }: PciDevice): string {
  const uses = inUse.length === 0 ? '' : `, in use by the host: ${inUse.map(useSentence).join(', ')}`;
  return `${address} (${kind === 'other' ? '' : `${kind}, `}driver ${driver}${uses})`;
}

export function useSentence({ name, reason }: DeviceUse): string {
  return `${name} ${reason}`;
}
