import { afterEach, describe, expect, it } from 'vitest';
import { filesOf, removeFiles } from '../../platform/host-files.fixture.ts';
import { readIommu, readSriovDevices } from './pci.ts';
import { readCgroup, readIoUring, readSecurityModules } from './security.ts';
import { findClashes } from './uid-clashes.ts';

afterEach(removeFiles);

describe('what confines guests', () => {
  it('is read from the mounted control groups', async () => {
    const files = await filesOf({
      '/proc/self/mountinfo':
        '1 0 0:1 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n2 0 0:2 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n3 0 0:3 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n',
      '/sys/fs/cgroup/unified/cgroup.controllers': 'hugetlb\n',
    });
    expect(await readCgroup(files, true)).toEqual({
      cgroup: {
        version: 'hybrid',
        controllers: [
          { name: 'cpu', version: 'v1' },
          { name: 'cpuacct', version: 'v1' },
          { name: 'hugetlb', version: 'v2' },
        ],
      },
      writable: true,
    });
    expect((await readCgroup(files, false)).writable).toBe(false);
    expect((await readCgroup(await filesOf({}), true)).cgroup).toEqual({ version: 'none', controllers: [] });
  });

  it('is told of SELinux and AppArmor apart', async () => {
    expect(await readSecurityModules(await filesOf({ '/sys/fs/selinux/enforce': '1' }))).toEqual({
      selinux: 'enforcing',
      apparmor: false,
    });
    const apparmor = await filesOf({ '/sys/module/apparmor/parameters/enabled': 'Y\n' });
    expect(await readSecurityModules(apparmor)).toEqual({ selinux: 'off', apparmor: true });
  });

  it('names the accounts that have uids in the range of guests', async () => {
    const files = await filesOf({
      '/etc/passwd': 'root:x:0:0:::\nfar:x:2000:2000:::\n',
      '/etc/group': 'near:x:1999:\n',
      '/etc/subuid': 'a:1000:1000\nb:1990:20\nc:2010:65536\n',
    });
    expect(await findClashes(files, { first: 2000, count: 10 })).toEqual([
      'far in /etc/passwd',
      'b in /etc/subuid',
    ]);
  });
});

describe('io_uring', () => {
  const disabled = (value: string) => filesOf({ '/proc/sys/kernel/io_uring_disabled': `${value}\n` });

  it('is there for guests only when it is open to all', async () => {
    expect(await readIoUring(await disabled('0'))).toEqual({ ioUring: true, ioUringDisabled: 0 });
    expect(await readIoUring(await disabled('1'))).toEqual({ ioUring: false, ioUringDisabled: 1 });
    expect(await readIoUring(await disabled('2'))).toEqual({ ioUring: false, ioUringDisabled: 2 });
  });

  it('is found by its system call on kernels that have no switch for it', async () => {
    const kernel = (symbols: string) => filesOf({ '/proc/kallsyms': symbols });
    expect((await readIoUring(await kernel('0 T __x64_sys_io_uring_setup\n'))).ioUring).toBe(true);
    expect((await readIoUring(await kernel('0 t not_io_uring_setup\n'))).ioUring).toBe(false);
    expect((await readIoUring(await filesOf({}))).ioUring).toBe(false);
  });
});

describe('devices for guests', () => {
  it('are those that can be split, with their driver and group', async () => {
    const at = '/sys/bus/pci/devices';
    const files = await filesOf({
      [`${at}/0000:00:01.0/vendor`]: '0x8086\n',
      [`${at}/0000:01:00.0/vendor`]: '0x8086\n',
      [`${at}/0000:01:00.0/device`]: '0x10c9\n',
      [`${at}/0000:01:00.0/sriov_totalvfs`]: '7\n',
      [`${at}/0000:01:00.0/sriov_numvfs`]: '2\n',
      [`${at}/0000:01:00.0/driver`]: '-> ../../../bus/pci/drivers/igb',
      [`${at}/0000:01:00.0/iommu_group`]: '-> ../../../kernel/iommu_groups/14',
      [`${at}/0000:02:00.0/sriov_totalvfs`]: '0\n',
      '/sys/kernel/iommu_groups/14/': '',
    });
    expect(await readSriovDevices(files)).toEqual([
      {
        address: '0000:01:00.0',
        vendorDevice: '8086:10c9',
        driver: 'igb',
        iommuGroup: 14,
        sriovTotalVfs: 7,
        sriovNumVfs: 2,
      },
    ]);
    expect(await readIommu(files)).toEqual({ enabled: true, groups: 1 });
    expect(await readIommu(await filesOf({}))).toEqual({ enabled: false, groups: 0 });
  });
});
