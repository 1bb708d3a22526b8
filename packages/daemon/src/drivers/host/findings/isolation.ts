// Judges what keeps guests apart: privileges, uids, control groups, and the security module. Pure.
import type { HostFinding } from '@wirt/api';
import type { HostFacts } from '../facts.ts';

export function isolationFindings(facts: HostFacts): HostFinding[] {
  return [privileges(facts), uids(facts), cgroup(facts), securityModule(facts)];
}

function privileges({ host: { security } }: HostFacts): HostFinding {
  const head = { id: 'privileges', title: 'Privileges' };
  if (security.privileged)
    return {
      ...head,
      level: 'ok',
      found: 'wirtd runs as root',
      why: 'Each guest gets a uid and control groups of its own, and no privilege.',
    };
  return {
    ...head,
    level: 'missing',
    found: 'wirtd runs as an ordinary user',
    why: 'All guests run as that user: one that breaks out of QEMU reaches the files and processes of the others, and none can be limited or counted by control groups. Networks are user-mode only, which takes far more processor time per packet than a tap.',
    fix: 'sudo systemctl enable --now wirtd',
  };
}

function uids({ uids: { first, count, clashes }, host: { security } }: HostFacts): HostFinding {
  const head = { id: 'uids', title: 'Uids for guests' };
  const range = `${first} to ${first + count - 1}`;
  if (!security.privileged)
    return {
      ...head,
      level: 'missing',
      found: 'none: guests run as the user of wirtd',
      why: 'Guests are not kept apart by the file permissions of the host.',
      fix: 'sudo systemctl enable --now wirtd',
    };
  if (clashes.length > 0)
    return {
      ...head,
      level: 'better',
      found: `${range}; in it are ${clashes.join(', ')}`,
      why: 'These uids are left out. An account made later in the range could reach a guest’s files.',
      fix: 'getent passwd; cat /etc/subuid  # then move them, or give wirtd another range with --uid-first and --uid-count',
    };
  return {
    ...head,
    level: 'ok',
    found: `${range}, which nobody else hands out`,
    why: 'No two guests on this machine share a uid, whichever daemon runs them.',
  };
}

const wanted = ['cpu', 'memory', 'pids'] as const;

function cgroup({ host: { cgroup: seen, security }, cgroupWritable }: HostFacts): HostFinding {
  const head = { id: 'cgroup', title: 'Control groups' };
  const names = seen.controllers.map(({ name }) => name);
  const found = `${seen.version}: ${names.join(', ') || 'no controllers'}`;
  if (seen.version === 'none')
    return {
      ...head,
      level: 'missing',
      found: 'not mounted',
      why: 'Guests cannot be limited, counted, or killed as one; one guest can take all memory and time.',
      fix: 'mount -t cgroup2 cgroup2 /sys/fs/cgroup',
    };
  const hasIo = names.includes('io') || names.includes('blkio');
  const absent = [...wanted.filter((name) => !names.includes(name)), ...(hasIo ? [] : ['io'])];
  if (absent.length > 0)
    return {
      ...head,
      level: 'missing',
      found: `${found}; without ${absent.join(', ')}`,
      why: `Guests’ use of ${absent.join(', ')} cannot be limited.`,
      fix: absent.includes('memory')
        ? "sed -i 's/^GRUB_CMDLINE_LINUX=\"/&cgroup_enable=memory swapaccount=1 /' /etc/default/grub && update-grub && reboot"
        : 'cat /sys/fs/cgroup/cgroup.controllers /proc/cgroups',
    };
  if (!cgroupWritable)
    return {
      ...head,
      level: security.privileged ? 'missing' : 'better',
      found: `${found}; not writable`,
      why: 'Guests stay in the group of wirtd: they are limited and counted with it, and not each by itself.',
      fix: security.privileged ? 'mount -o remount,rw /sys/fs/cgroup' : 'sudo systemctl enable --now wirtd',
    };
  if (seen.version !== 'v2')
    return {
      ...head,
      level: 'better',
      found,
      why: 'With version 1, buffered writes escape the I/O limits, a group is not killed in one step, and pressure is not measured per guest.',
      fix: "sed -i 's/^GRUB_CMDLINE_LINUX=\"/&systemd.unified_cgroup_hierarchy=1 /' /etc/default/grub && update-grub && reboot",
    };
  return { ...head, level: 'ok', found, why: 'Each guest is held, limited and counted by itself.' };
}

function securityModule({ host: { security } }: HostFacts): HostFinding {
  const head = { id: 'security-module', title: 'SELinux or AppArmor' };
  if (security.selinux === 'enforcing')
    return {
      ...head,
      level: 'ok',
      found: 'SELinux, enforcing',
      why: 'A second wall around each guest, behind uid, seccomp and control groups.',
    };
  const why =
    'Guests are kept apart by uid, seccomp and control groups; SELinux puts a second wall behind these, for the day one of them has a hole.';
  if (security.selinux === 'permissive')
    return { ...head, level: 'better', found: 'SELinux, permissive', why, fix: 'setenforce 1' };
  return {
    ...head,
    level: 'better',
    found: security.apparmor ? 'AppArmor' : 'neither',
    why,
    fix: 'apt-get install -y selinux-basics selinux-policy-default && selinux-activate && reboot',
  };
}
