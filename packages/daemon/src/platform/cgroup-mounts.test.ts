import { describe, expect, it } from 'vitest';
import { parseCgroupMounts } from './cgroup-mounts.ts';

const root = '/sys/fs/cgroup';

const pureV2 = `22 28 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
35 22 0:29 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot`;

const hybrid = `35 22 0:29 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,size=4096k,mode=755
36 35 0:30 / /sys/fs/cgroup/unified rw,nosuid,relatime shared:10 - cgroup2 cgroup2 rw,nsdelegate
37 35 0:31 / /sys/fs/cgroup/systemd rw,nosuid,relatime shared:11 - cgroup cgroup rw,xattr,name=systemd
41 35 0:35 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid,relatime shared:15 - cgroup cgroup rw,cpu,cpuacct
42 35 0:36 / /sys/fs/cgroup/memory rw,nosuid,relatime shared:16 - cgroup cgroup rw,memory`;

const container = `712 700 0:31 /docker/4f /sys/fs/cgroup/memory ro,nosuid,relatime master:16 - cgroup cgroup rw,memory
713 700 0:31 /docker/4f /sys/fs/cgroup/second\\040view rw,relatime - cgroup cgroup rw,memory
714 700 0:32 / /mnt/elsewhere rw,relatime - cgroup cgroup rw,pids
715 700 0:33 / /sys/fs/cgroup/odd\\040name rw,relatime - cgroup cgroup rw,blkio,release_agent=/x,clone_children`;

describe('the control group hierarchies of a mount table', () => {
  it('are one on a v2 host', () => {
    expect(parseCgroupMounts(pureV2, root)).toEqual([
      { version: 'v2', mountPoint: root, controllers: [], readOnly: false },
    ]);
  });

  it('are one per set of controllers on a hybrid host, and the tmpfs around them is none', () => {
    expect(parseCgroupMounts(hybrid, root)).toEqual([
      { version: 'v2', mountPoint: `${root}/unified`, controllers: [], readOnly: false },
      { version: 'v1', mountPoint: `${root}/systemd`, controllers: ['name=systemd'], readOnly: false },
      { version: 'v1', mountPoint: `${root}/cpu,cpuacct`, controllers: ['cpu', 'cpuacct'], readOnly: false },
      { version: 'v1', mountPoint: `${root}/memory`, controllers: ['memory'], readOnly: false },
    ]);
  });

  it('are counted once each, know being read-only, and stay below the root asked for', () => {
    expect(parseCgroupMounts(container, root)).toEqual([
      { version: 'v1', mountPoint: `${root}/memory`, controllers: ['memory'], readOnly: true },
      { version: 'v1', mountPoint: `${root}/odd name`, controllers: ['blkio'], readOnly: false },
    ]);
  });

  it('are none in an empty or broken table', () => {
    expect(parseCgroupMounts('', root)).toEqual([]);
    expect(parseCgroupMounts('35 22 - cgroup2\n - \ngarbage', root)).toEqual([]);
  });
});
