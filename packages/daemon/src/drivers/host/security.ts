// What can confine a guest here: control groups, SELinux or AppArmor, privileges; and the kernel's I/O facilities, which may be
// closed for safety's sake.
import type { Host } from '@wirt/api';
import { parseCgroupMounts } from '../../platform/cgroup-mounts.ts';
import type { HostFiles } from '../../platform/host-files.ts';

export interface CgroupFacts {
  readonly cgroup: Host['cgroup'];
  /** Whether this process may make groups where guests' groups go. */
  readonly writable: boolean;
}

export async function readCgroup(files: HostFiles, isPrivileged: boolean): Promise<CgroupFacts> {
  const mounts = parseCgroupMounts((await files.text('/proc/self/mountinfo')) ?? '', '/sys/fs/cgroup');
  const v1 = mounts.filter(({ version }) => version === 'v1').flatMap(({ controllers }) => controllers);
  const v1Controllers = v1.filter((name) => !name.startsWith('name='));
  const v2 = mounts.find(({ version }) => version === 'v2');
  const v2Text = v2 === undefined ? '' : ((await files.line(`${v2.mountPoint}/cgroup.controllers`)) ?? '');
  return {
    cgroup: {
      version: cgroupVersion(v1.length > 0, v2 !== undefined),
      controllers: [
        ...v1Controllers.map((name) => ({ name, version: 'v1' as const })),
        ...v2Text
          .split(/\s+/)
          .filter(Boolean)
          .map((name) => ({ name, version: 'v2' as const })),
      ].toSorted((a, b) => a.name.localeCompare(b.name)),
    },
    writable: isPrivileged && mounts.some(({ readOnly }) => !readOnly),
  };
}

function cgroupVersion(hasV1: boolean, hasV2: boolean): Host['cgroup']['version'] {
  if (hasV1) return hasV2 ? 'hybrid' : 'v1';
  return hasV2 ? 'v2' : 'none';
}

export async function readSecurityModules(
  files: HostFiles,
): Promise<Pick<Host['security'], 'selinux' | 'apparmor'>> {
  const enforce = await files.line('/sys/fs/selinux/enforce');
  const apparmor = await files.line('/sys/module/apparmor/parameters/enabled');
  return {
    selinux: enforce === undefined ? 'off' : enforce === '1' ? 'enforcing' : 'permissive',
    apparmor: apparmor === 'Y',
  };
}

export interface IoUringFacts {
  /** For a process without privileges, as guests are. */
  readonly ioUring: boolean;
  /** kernel.io_uring_disabled (Linux 6.6): 0 open, 1 for one group only, 2 closed. */
  readonly ioUringDisabled: number | undefined;
}

export async function readIoUring(files: HostFiles): Promise<IoUringFacts> {
  const ioUringDisabled = await files.number('/proc/sys/kernel/io_uring_disabled');
  if (ioUringDisabled !== undefined) return { ioUring: ioUringDisabled === 0, ioUringDisabled };
  // Kernels before 6.6 have no switch: it is there when its system call is.
  const symbols = (await files.text('/proc/kallsyms')) ?? '';
  return { ioUring: /\bT \w*sys_io_uring_setup$/m.test(symbols), ioUringDisabled };
}
