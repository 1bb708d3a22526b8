// PCI devices that can be split into virtual functions (SR-IOV), and the IOMMU groups that let a guest have one safely.
import type { Host } from '@wirt/api';
import type { HostFiles } from '../../platform/host-files.ts';

const directory = '/sys/bus/pci/devices';

export async function readSriovDevices(files: HostFiles): Promise<Host['sriovDevices']> {
  const devices = await Promise.all((await files.list(directory)).map((name) => readDevice(files, name)));
  return devices.filter((device) => device !== undefined);
}

async function readDevice(
  files: HostFiles,
  address: string,
): Promise<Host['sriovDevices'][number] | undefined> {
  const path = `${directory}/${address}`;
  const sriovTotalVfs = await files.number(`${path}/sriov_totalvfs`);
  if (sriovTotalVfs === undefined || sriovTotalVfs === 0) return undefined;
  const id = async (name: string): Promise<string> =>
    ((await files.line(`${path}/${name}`)) ?? '').replace(/^0x/, '');
  const driver = await files.linkName(`${path}/driver`);
  const group = await files.linkName(`${path}/iommu_group`);
  return {
    address,
    vendorDevice: `${await id('vendor')}:${await id('device')}`,
    ...(driver === undefined ? {} : { driver }),
    ...(group === undefined ? {} : { iommuGroup: Number(group) }),
    sriovTotalVfs,
    sriovNumVfs: (await files.number(`${path}/sriov_numvfs`)) ?? 0,
  };
}

export async function readIommu(files: HostFiles): Promise<Host['iommu']> {
  const groups = (await files.list('/sys/kernel/iommu_groups')).length;
  return { enabled: groups > 0, groups };
}
