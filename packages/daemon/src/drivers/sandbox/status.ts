// What /proc says of a process's confinement: proc_pid_status(5), proc_pid_cgroup(5), and the names of capabilities by bit
// (linux/capability.h). Pure.
import type { Isolation } from '@wirt/api';

/** By bit number, 0 to 40. A kernel newer than this list shows further bits as `cap_41` and so on. */
export const capabilityNames = [
  'chown',
  'dac_override',
  'dac_read_search',
  'fowner',
  'fsetid',
  'kill',
  'setgid',
  'setuid',
  'setpcap',
  'linux_immutable',
  'net_bind_service',
  'net_broadcast',
  'net_admin',
  'net_raw',
  'ipc_lock',
  'ipc_owner',
  'sys_module',
  'sys_rawio',
  'sys_chroot',
  'sys_ptrace',
  'sys_pacct',
  'sys_admin',
  'sys_boot',
  'sys_nice',
  'sys_resource',
  'sys_time',
  'sys_tty_config',
  'mknod',
  'lease',
  'audit_write',
  'audit_control',
  'setfcap',
  'mac_override',
  'mac_admin',
  'syslog',
  'wake_alarm',
  'block_suspend',
  'audit_read',
  'perfmon',
  'bpf',
  'checkpoint_restore',
] as const;

export function capabilitiesOf(hexMask: string): string[] {
  const mask = /^[0-9a-f]{1,16}$/i.test(hexMask) ? BigInt(`0x${hexMask}`) : 0n;
  const names: string[] = [];
  for (let bit = 0; bit < 64; bit += 1)
    if ((mask >> BigInt(bit)) & 1n) names.push(`cap_${capabilityNames[bit] ?? bit}`);
  return names;
}

const seccompModes = ['disabled', 'strict', 'filter'] as const;

export type StatusPart = Pick<
  Isolation,
  'uids' | 'gids' | 'groups' | 'capabilities' | 'seccomp' | 'seccompFilters' | 'noNewPrivileges'
> & { readonly isDead: boolean };

export function parseStatus(text: string): StatusPart {
  const lines = new Map(
    text.split('\n').map((line) => {
      const at = line.indexOf(':');
      return [line.slice(0, at), line.slice(at + 1).trim()];
    }),
  );
  const value = (name: string): string => lines.get(name) ?? '';
  const numbers = (name: string): number[] => value(name).split(/\s+/).filter(Boolean).map(Number);
  const filters = lines.get('Seccomp_filters');
  return {
    uids: numbers('Uid'),
    gids: numbers('Gid'),
    groups: numbers('Groups'),
    capabilities: {
      inheritable: capabilitiesOf(value('CapInh')),
      permitted: capabilitiesOf(value('CapPrm')),
      effective: capabilitiesOf(value('CapEff')),
      bounding: capabilitiesOf(value('CapBnd')),
      ambient: capabilitiesOf(value('CapAmb')),
    },
    seccomp: seccompModes[Number(value('Seccomp'))] ?? 'disabled',
    ...(filters === undefined ? {} : { seccompFilters: Number(filters) }),
    noNewPrivileges: value('NoNewPrivs') === '1',
    isDead: /^[ZX]/.test(value('State')),
  };
}

/** Lines `4:memory:/path`; v2's has no controllers. A group is the guest's own when its path has the guest's id. */
export function parseCgroups(text: string, id: string): Isolation['cgroups'] {
  return text.split('\n').flatMap((line) => {
    const parts = /^\d+:([^:]*):(\/.*)$/.exec(line);
    const [, controllers, path] = parts ?? [];
    if (controllers === undefined || path === undefined) return [];
    return [{ hierarchy: controllers === '' ? 'v2' : controllers, path, own: path.includes(id) }];
  });
}

/** Field 22 of /proc/<pid>/stat; the command in field 2 may have spaces and parentheses. */
export function parseStartTime(stat: string): string | undefined {
  return stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .at(19);
}
