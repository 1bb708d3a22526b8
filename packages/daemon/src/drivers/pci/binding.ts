// Hands one device from its driver to vfio-pci and back (Linux, driver-api/vfio.rst). driver_override names the only driver
// that may take the device, so that at no moment another one that fits gets it.
import { bindRefusal, type PciDevice, refusalError } from '@wirt/core';
import type { HostFiles } from '../../platform/host-files.ts';
import {
  driverOf,
  isUnanswered,
  overrideStep,
  probeStep,
  resetStep,
  runStep,
  type Sysfs,
  stepFailed,
  unbindStep,
  vanished,
} from './steps.ts';
import { devicePath, driverDirectory } from './sysfs-paths.ts';

const vfio = 'vfio-pci';

/** Of an inventory that was just read. The device is with vfio-pci then, or as it was. */
export async function bindToVfio(
  sysfs: Sysfs,
  device: PciDevice,
  inventory: readonly PciDevice[],
  signal: AbortSignal,
  together: readonly string[] = [],
): Promise<void> {
  const { address, driver } = device;
  const refusal = bindRefusal(device, inventory, together);
  if (refusal !== undefined) throw refusalError(refusal);
  await requireVfio(sysfs.files, address);
  try {
    signal.throwIfAborted();
    await runStep(sysfs, overrideStep(address, vfio));
    signal.throwIfAborted();
    if (driver !== undefined) await unbind(sysfs, address, driver);
    signal.throwIfAborted();
    await runStep(sysfs, probeStep(address));
    await requireDriver(sysfs.files, address, vfio);
  } catch (error) {
    // A step that the kernel still works on holds the device: another write would wait behind it.
    if (!isUnanswered(error)) await putBack(sysfs, address, driver);
    throw error;
  }
}

/** See `HostDevices.release`. */
export async function releaseFromVfio(
  sysfs: Sysfs,
  address: string,
  formerDriver: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  const { files } = sysfs;
  if (!(await files.exists(devicePath(address)))) return;
  const driver = await driverOf(files, address);
  if (driver !== undefined && driver !== vfio) {
    // Given back already, or taken by somebody else; only the override may be left of ours. Whether it is cannot be asked: who reads it
    // waits for the device's lock.
    return runStep(sysfs, overrideStep(address, undefined));
  }
  signal.throwIfAborted();
  if (driver === vfio && (await files.exists(`${devicePath(address)}/reset`)))
    await runStep(sysfs, resetStep(address));
  if (driver === vfio && formerDriver === vfio) return;
  signal.throwIfAborted();
  await runStep(sysfs, overrideStep(address, formerDriver));
  if (driver !== undefined) await unbind(sysfs, address, driver);
  await rebind(sysfs, address, formerDriver);
}

/** Of a device without a driver, whose override is the former one. */
async function rebind(sysfs: Sysfs, address: string, formerDriver: string | undefined): Promise<void> {
  try {
    if (formerDriver === undefined) return;
    await runStep(sysfs, probeStep(address));
    await requireDriver(sysfs.files, address, formerDriver);
  } finally {
    // Of one that is with vfio-pci for good, the override stays as whoever put it there left it.
    if (formerDriver !== vfio && (await sysfs.files.exists(devicePath(address))))
      await runStep(sysfs, overrideStep(address, undefined));
  }
}

/** What was begun is undone as far as the kernel lets us; the first error is the one that is told. */
async function putBack(sysfs: Sysfs, address: string, formerDriver: string | undefined): Promise<void> {
  try {
    if ((await driverOf(sysfs.files, address)) === vfio) await unbind(sysfs, address, vfio);
    const now = await driverOf(sysfs.files, address);
    if (now !== undefined) return await runStep(sysfs, overrideStep(address, undefined));
    await runStep(sysfs, overrideStep(address, formerDriver));
    await rebind(sysfs, address, formerDriver);
  } catch {
    // The first error has it: `details.driver` is what the device has.
  }
}

/** Somebody else may have been faster. */
async function unbind(sysfs: Sysfs, address: string, driver: string): Promise<void> {
  try {
    await runStep(sysfs, unbindStep(address, driver));
  } catch (error) {
    if ((await driverOf(sysfs.files, address)) === driver) throw error;
  }
}

async function requireVfio(files: HostFiles, address: string): Promise<void> {
  if (await files.exists(`${driverDirectory}/${vfio}`)) return;
  throw refusalError({
    code: 'device.unsupported',
    message: `PCI device ${address} cannot be given to a guest: the kernel has no driver vfio-pci.`,
    hint: 'Load it: modprobe vfio-pci; at every start: echo vfio-pci > /etc/modules-load.d/vfio-pci.conf',
    details: { address },
  });
}

/** A driver that refuses a device makes no write fail. */
async function requireDriver(files: HostFiles, address: string, wanted: string): Promise<void> {
  const driver = await driverOf(files, address);
  if (driver === wanted) return;
  if (!(await files.exists(devicePath(address)))) throw vanished(address);
  const cause = new Error(
    driver === undefined ? `${wanted} did not take it` : `${driver} took it instead of ${wanted}`,
  );
  throw await stepFailed(files, { address, operation: `bound to ${wanted}` }, cause, {
    hint: `See \`dmesg | tail\`; then try: modprobe ${wanted} && echo ${address} > /sys/bus/pci/drivers_probe`,
  });
}
