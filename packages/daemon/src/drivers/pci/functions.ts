// Virtual functions of SR-IOV devices: made, counted and taken away by sriov_numvfs (Linux, PCI/pci-iov-howto.rst). While
// there are some, no driver takes them by itself: guests are to have them, not the host. The last goes, and that is as it was.
import { type DeviceRefusal, isVfioDriver, type PciDevice, refusalError, useSentence } from '@wirt/core';
import { readVfs } from './inventory.ts';
import { isUnanswered, runStep, type Sysfs, stepFailed, vanished } from './steps.ts';
import { devicePath } from './sysfs-paths.ts';

/** Answers the addresses. */
export async function makeFunctions(
  sysfs: Sysfs,
  device: PciDevice,
  inventory: readonly PciDevice[],
  count: number,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const { address, sriov } = device;
  const refusal = countRefusal(device, count);
  if (refusal !== undefined) throw refusalError(refusal);
  if (sriov.numVfs === count) return sriov.vfs;
  if (sriov.numVfs > 0) await removeFunctions(sysfs, device, inventory, signal);
  signal.throwIfAborted();
  await setAutoprobe(sysfs, address, '0');
  try {
    await setNumber(sysfs, address, count);
    signal.throwIfAborted();
    return await readBack(sysfs, address, count);
  } catch (error) {
    // The first error is the one that is told.
    if (!isUnanswered(error))
      await setNumber(sysfs, address, 0)
        .then(() => setAutoprobe(sysfs, address, '1'))
        .catch(() => undefined);
    throw error;
  }
}

export async function removeFunctions(
  sysfs: Sysfs,
  device: PciDevice,
  inventory: readonly PciDevice[],
  signal: AbortSignal,
): Promise<void> {
  const { address, sriov } = device;
  if (sriov.numVfs === 0) return;
  const refusal = functionsRefusal(device, inventory);
  if (refusal !== undefined) throw refusalError(refusal);
  signal.throwIfAborted();
  await setNumber(sysfs, address, 0);
  await readBack(sysfs, address, 0);
  await setAutoprobe(sysfs, address, '1');
}

/** A driver of the device may make fewer than it was told without an error. */
async function readBack(sysfs: Sysfs, address: string, count: number): Promise<readonly string[]> {
  const path = devicePath(address);
  const vfs = await readVfs(sysfs.files, path);
  if (vfs.length === count) return vfs;
  if (!(await sysfs.files.exists(path))) throw vanished(address);
  const operation = count === 0 ? 'freed of its virtual functions' : `split into ${count} virtual functions`;
  const cause = new Error(`the device has ${vfs.length} of them`);
  throw await stepFailed(sysfs.files, { address, operation }, cause);
}

async function setNumber(sysfs: Sysfs, address: string, count: number): Promise<void> {
  const operation = count === 0 ? 'freed of its virtual functions' : `split into ${count} virtual functions`;
  const path = `${devicePath(address)}/sriov_numvfs`;
  await runStep(sysfs, { address, operation, path, value: String(count) });
}

/** Kernels before 4.12 have no such file, and let drivers take the functions. */
async function setAutoprobe(sysfs: Sysfs, address: string, value: '0' | '1'): Promise<void> {
  const path = `${devicePath(address)}/sriov_drivers_autoprobe`;
  if (!(await sysfs.files.exists(path))) return;
  await runStep(sysfs, { address, operation: 'told who gets its virtual functions', path, value });
}

function countRefusal(device: PciDevice, count: number): DeviceRefusal | undefined {
  const { address, driver, sriov } = device;
  const unsupported = (message: string, hint: string): DeviceRefusal => ({
    code: 'device.unsupported',
    message,
    hint,
    details: { address, totalVfs: sriov.totalVfs, count },
  });
  if (sriov.totalVfs === 0)
    return unsupported(
      `PCI device ${address} cannot be split into virtual functions${sriov.isVf ? ': it is one' : ''}.`,
      'See `wirt host device ls` for devices that can; some need SR-IOV turned on in the firmware first.',
    );
  if (!Number.isInteger(count) || count < 1 || count > sriov.totalVfs)
    return unsupported(
      `PCI device ${address} has 1 to ${sriov.totalVfs} virtual functions, not ${count}.`,
      `Ask for ${sriov.totalVfs} or fewer.`,
    );
  if (driver === undefined || isVfioDriver(driver))
    return unsupported(
      `PCI device ${address} is split into virtual functions by its own driver, and has ${driver ?? 'none'}.`,
      'Bind it to its driver first; see `lspci -k` for which that is.',
    );
  return undefined;
}

/** Functions that a guest may have, or that the host works with. */
function functionsRefusal(
  { address, sriov }: PciDevice,
  inventory: readonly PciDevice[],
): DeviceRefusal | undefined {
  const busy = inventory.filter(
    (vf) => sriov.vfs.includes(vf.address) && (isVfioDriver(vf.driver) || vf.inUse.length > 0),
  );
  if (busy.length === 0) return undefined;
  const phrase = (vf: PciDevice): string =>
    vf.inUse.length > 0
      ? `${vf.address} (${vf.inUse.map(useSentence).join(', ')})`
      : `${vf.address} (bound to ${vf.driver})`;
  return {
    code: 'device.in_use',
    message: `Virtual functions of PCI device ${address} are in use: ${busy.map(phrase).join(', ')}.`,
    hint: 'Stop the guests that have them first; see `wirt host device ls`.',
    details: { address, functions: busy.map((vf) => vf.address) },
  };
}
