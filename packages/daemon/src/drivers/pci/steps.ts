// One write into sysfs for a device, with errors of the catalogue. Between writes a caller may give up; a write itself is
// waited for to its deadline, since the kernel goes on with it anyway. A device that did not answer one is told nothing more.
import { type ErrorCode, WirtError } from '@wirt/api';
import { refusalError } from '@wirt/core';
import { fsError, hasErrno } from '../../platform/fs-error.ts';
import type { HostFiles } from '../../platform/host-files.ts';
import { type SysfsWrites, UnansweredWrite } from '../../platform/sysfs-writes.ts';
import type { StuckDevices } from './stuck.ts';
import { devicePath, driverDirectory } from './sysfs-paths.ts';

export interface Sysfs {
  readonly files: HostFiles;
  readonly writes: SysfsWrites;
  readonly stuck: StuckDevices;
}

export interface Step {
  readonly address: string;
  /** Completes "could not be": `unbound from igb`. */
  readonly operation: string;
  readonly path: string;
  readonly value: string;
}

/** Throws `device.not_found`, `device.bind_failed`, `host.permission_denied`, `host.storage_read_only`. */
export async function runStep({ files, writes, stuck }: Sysfs, step: Step): Promise<void> {
  const refusal = stuck.refusal(step.address);
  if (refusal !== undefined) throw refusalError(refusal);
  try {
    await writes.write(step.path, step.value, new AbortController().signal);
  } catch (error) {
    if (hasErrno(error, 'ETIMEDOUT'))
      stuck.add(step.address, step.operation, error instanceof UnansweredWrite ? error.ended : undefined);
    if (!(await files.exists(devicePath(step.address)))) throw vanished(step.address, error);
    if (hasErrno(error, 'EACCES', 'EPERM', 'EROFS')) throw fsError(error, 'write', step.path);
    throw await stepFailed(files, step, error);
  }
}

export function vanished(address: string, cause?: unknown): WirtError {
  return new WirtError('device.not_found', `PCI device ${address} is not on the host any more.`, {
    cause,
    hint: 'See `dmesg | tail` for why it went, and `wirt host device ls` for what there is.',
    details: { address },
  });
}

export function isGone(error: unknown): boolean {
  return error instanceof WirtError && error.code === 'device.not_found';
}

/** The kernel works on it still: another write to the device would wait behind it. */
export function isUnanswered(error: unknown): boolean {
  return error instanceof Error && hasErrno(error.cause, 'ETIMEDOUT');
}

/** With the driver that has the device now. */
export async function stepFailed(
  files: HostFiles,
  { address, operation }: Pick<Step, 'address' | 'operation'>,
  cause: unknown,
  { code = 'device.bind_failed', hint }: { readonly code?: ErrorCode; readonly hint?: string } = {},
): Promise<WirtError> {
  const driver = await driverOf(files, address);
  return new WirtError(code, `PCI device ${address} could not be ${operation}.`, {
    cause,
    hint: hint ?? 'See `dmesg | tail` for what the kernel says.',
    details: { address, driver: driver ?? null },
  });
}

export function driverOf(files: HostFiles, address: string): Promise<string | undefined> {
  return files.linkName(`${devicePath(address)}/driver`);
}

/** The driver that alone may take the device, however well others fit; undefined: any that fits. */
export function overrideStep(address: string, driver: string | undefined): Step {
  const operation = driver === undefined ? 'opened to all drivers' : `kept for ${driver}`;
  return { address, operation, path: `${devicePath(address)}/driver_override`, value: `${driver ?? ''}\n` };
}

export function unbindStep(address: string, driver: string): Step {
  const path = `${driverDirectory}/${driver}/unbind`;
  return { address, operation: `unbound from ${driver}`, path, value: address };
}

export function probeStep(address: string): Step {
  return { address, operation: 'shown to drivers', path: '/sys/bus/pci/drivers_probe', value: address };
}

export function resetStep(address: string): Step {
  return { address, operation: 'reset', path: `${devicePath(address)}/reset`, value: '1' };
}
