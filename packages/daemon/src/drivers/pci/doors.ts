// The device files through which a process gets at what is bound to vfio-pci (Linux, driver-api/vfio.rst): one of each IOMMU group, and
// a container, which opens nothing by itself and is everybody's. A group's is root's alone until it is granted to a guest's own group;
// the file stays root's, so that no guest can open it to others. Never opened here: it opens once, and that is QEMU's.
import { chmod, chown, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { WirtError } from '@wirt/api';
import type { HostDevices, Identity } from '@wirt/core';
import { fsError, hasErrno } from '../../platform/fs-error.ts';
import { runToSuccess } from '../../platform/subprocess.ts';

const granted = 0o660;
const closed = 0o600;
const everybody = 0o666;
const permissions = 0o777;

const settleMs = 10_000;

/** udev is still at a door that was just made, and would set its access after us. A host without udev has nothing to wait for. */
async function settleUdev(): Promise<void> {
  await runToSuccess('udevadm', ['settle', '--timeout=5'], { timeoutMs: settleMs }).catch(() => undefined);
}

export function createDoors(
  directory = '/dev/vfio',
  settle: () => Promise<void> = settleUdev,
): Pick<HostDevices, 'grant' | 'revoke'> {
  const doorOf = (group: number): string => join(directory, String(group));
  const container = join(directory, 'vfio');
  const daemon = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };

  return {
    async grant(group, { gid, own }: Identity) {
      await settle();
      await requireDoor(container, 'the container of VFIO');
      const door = doorOf(group);
      await requireDoor(door, `IOMMU group ${group}`);
      // The daemon's own user opens what the daemon may open.
      if (!own) return;
      try {
        if (((await stat(container)).mode & everybody) !== everybody) await chmod(container, everybody);
        // In this order nobody can open it in between.
        await chmod(door, closed);
        await chown(door, daemon.uid, gid);
        await chmod(door, granted);
      } catch (error) {
        throw fsError(error, 'grant', door, 'device.bind_failed');
      }
    },
    async revoke(group) {
      const door = doorOf(group);
      try {
        const now = await stat(door);
        if (now.gid === daemon.gid && (now.mode & permissions & ~closed) === 0) return;
        await chmod(door, closed);
        await chown(door, daemon.uid, daemon.gid);
      } catch (error) {
        // It went with the last device of the group.
        if (hasErrno(error, 'ENOENT')) return;
        throw fsError(error, 'take back', door, 'device.bind_failed');
      }
    },
  };
}

async function requireDoor(path: string, what: string): Promise<void> {
  try {
    await stat(path);
  } catch (cause) {
    if (!hasErrno(cause, 'ENOENT')) throw fsError(cause, 'look at', path, 'device.bind_failed');
    throw new WirtError('device.bind_failed', `There is no device file of ${what}.`, {
      cause,
      hint: 'See `ls /dev/vfio` and `dmesg | tail`; the kernel and udev make it when a device is bound to vfio-pci.',
      details: { path },
    });
  }
}
