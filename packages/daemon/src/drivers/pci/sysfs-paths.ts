// Where PCI devices are in sysfs.
import { isPciAddress } from '@wirt/core';

export const deviceDirectory = '/sys/bus/pci/devices';
export const driverDirectory = '/sys/bus/pci/drivers';
/** Of an IOMMU group: it opens once (Linux, driver-api/vfio.rst). */
export const doorOf = (group: number): string => `/dev/vfio/${group}`;
export const devicePath = (address: string): string => `${deviceDirectory}/${address}`;

/** The PCI device that something hangs on: the last on its way; those before are bridges. None or one. */
export function devicesOfPath(realPath: string | undefined): readonly string[] {
  const last = realPath?.split('/').findLast(isPciAddress);
  return last === undefined ? [] : [last];
}
