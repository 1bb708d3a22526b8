// Mediated devices: parts of a device that its driver, and not the hardware, keeps apart (Linux, driver-api/vfio-mediated-device.rst).
import type { MediatedDevice, MediatedType } from '@wirt/core';
import type { HostFiles } from '../../platform/host-files.ts';
import { devicesOfPath } from './sysfs-paths.ts';

export async function readMediatedTypes(files: HostFiles, path: string): Promise<readonly MediatedType[]> {
  const directory = `${path}/mdev_supported_types`;
  return Promise.all(
    (await files.list(directory)).map(async (id) => {
      const name = await files.line(`${directory}/${id}/name`);
      return {
        id,
        ...(name ? { name } : {}),
        available: (await files.number(`${directory}/${id}/available_instances`)) ?? 0,
        deviceApi: (await files.line(`${directory}/${id}/device_api`)) ?? '',
      };
    }),
  );
}

/** Those of PCI devices; those of other parents (channels, cards of a mainframe, samples) are none that a guest can be given here. */
export async function readMediatedDevices(
  files: HostFiles,
  isGroupOpen: (group: number) => Promise<boolean>,
): Promise<readonly MediatedDevice[]> {
  const directory = '/sys/bus/mdev/devices';
  const read = await Promise.all(
    (await files.list(directory)).map(async (uuid) => {
      const type = await files.linkName(`${directory}/${uuid}/mdev_type`);
      const [parent] = devicesOfPath(await files.realPath(`${directory}/${uuid}`));
      if (parent === undefined) return undefined;
      const group = await files.linkName(`${directory}/${uuid}/iommu_group`);
      return {
        uuid,
        ...(type === undefined ? {} : { type }),
        parent,
        ...(group === undefined ? {} : { iommuGroup: Number(group) }),
        isOpen: group !== undefined && (await isGroupOpen(Number(group))),
      };
    }),
  );
  return read.filter((device) => device !== undefined);
}
