/** Port: the host's PCI devices, and handing them over to guests and back. Who has leased which one is core's business. */
import type { PciDevice } from '../domain/devices/pci-device.ts';
import type { Identity } from './sandbox.ts';

/**
 * Calls for devices of one IOMMU group, and for a device and its virtual functions, come one after the other. All are safe
 * to repeat, also after the daemon died within one. All throw `device.not_found` for a device that is not there, or that
 * goes on the way; `device.bind_failed` when the kernel refuses or does not answer; `host.permission_denied`. A device for which the
 * kernel did not answer is `stuck` in the inventory until it does, is told nothing more, and holds up no other.
 */
export interface HostDevices {
  /** By address. What is taken out of the host meanwhile is left out. */
  inventory(signal: AbortSignal): Promise<readonly PciDevice[]>;
  /**
   * Takes the device from its driver and binds it to vfio-pci; fine where it is there already. Which driver it had is in the
   * inventory, for the caller to write down before. What fails is put back to that driver. `together`: others of its group
   * that are bound with it, and so no reason to refuse.
   * Throws `device.in_use`, `device.group_shared`, `device.unsupported` (bridge, no IOMMU, no vfio-pci).
   */
  bind(address: string, signal: AbortSignal, together?: readonly string[]): Promise<void>;
  /**
   * Resets the device and gives it back to `formerDriver`; undefined leaves it without one. A device that somebody else has
   * bound meanwhile stays there, and one that is gone needs nothing: neither is an error. One that cannot be reset stays
   * with vfio-pci, where no driver of the host meets what a guest left in it.
   */
  release(address: string, formerDriver: string | undefined, signal: AbortSignal): Promise<void>;
  /**
   * Lets a guest's process open the devices of an IOMMU group, all of which are bound, and nobody else but the daemon. Again is
   * fine. Throws `device.bind_failed` when the group has no door, `host.permission_denied`.
   */
  grant(iommuGroup: number, identity: Identity): Promise<void>;
  /** Takes that back. A group that is gone, or nobody's, is fine. */
  revoke(iommuGroup: number): Promise<void>;
  /**
   * Makes so many virtual functions of a physical one, bound to no driver, and answers their addresses, in the order of
   * their numbers. Other ones that there are go first. Throws `device.in_use` when one of those is with VFIO or used by the host,
   * `device.unsupported` when the device cannot have so many.
   */
  createVfs(address: string, count: number, signal: AbortSignal): Promise<readonly string[]>;
  /** All of them go. None is fine. Throws `device.in_use` as `createVfs`. */
  removeVfs(address: string, signal: AbortSignal): Promise<void>;
}
