import { describe, expect, it } from 'vitest';
import { capabilitiesOf, capabilityNames, parseCgroups, parseStartTime, parseStatus } from './status.ts';

const status = `Name:	qemu-system-x86
State:	S (sleeping)
Uid:	2130706440	2130706440	2130706440	2130706440
Gid:	2130706440	2130706440	2130706440	2130706440
Groups:	104 
CapInh:	0000000000000000
CapPrm:	0000000000000400
CapEff:	0000000000003000
CapBnd:	000001ffffffffff
CapAmb:	0000000000000000
NoNewPrivs:	1
Seccomp:	2
Seccomp_filters:	1
`;

describe('the confinement of a process, as /proc has it', () => {
  it('is read from its status', () => {
    const { capabilities, ...rest } = parseStatus(status);
    expect(rest).toEqual({
      uids: [2130706440, 2130706440, 2130706440, 2130706440],
      gids: [2130706440, 2130706440, 2130706440, 2130706440],
      groups: [104],
      seccomp: 'filter',
      seccompFilters: 1,
      noNewPrivileges: true,
      isDead: false,
    });
    expect(capabilities).toMatchObject({
      inheritable: [],
      permitted: ['cap_net_bind_service'],
      effective: ['cap_net_admin', 'cap_net_raw'],
    });
    expect(capabilities.bounding).toHaveLength(41);
  });

  it('names every capability by its bit, and numbers those that are newer', () => {
    expect(capabilityNames).toHaveLength(41);
    expect([capabilityNames[0], capabilityNames[12], capabilityNames[21], capabilityNames[40]]).toEqual([
      'chown',
      'net_admin',
      'sys_admin',
      'checkpoint_restore',
    ]);
    expect(capabilitiesOf('0000020000000000')).toEqual(['cap_41']);
    expect(capabilitiesOf('')).toEqual([]);
  });

  it('knows a kernel without seccomp counts, and a process that has died', () => {
    const old = parseStatus(
      status.replace('Seccomp_filters:	1\n', '').replace('S (sleeping)', 'Z (zombie)'),
    );
    expect(old.seccompFilters).toBeUndefined();
    expect(old.isDead).toBe(true);
  });

  it('tells own groups by the id in their path', () => {
    const text =
      '9:name=systemd:/\n4:memory:/wirt/ab/GUEST\n2:cpu,cpuacct:/wirt/ab/OTHER\n0::/wirt-ab-GUEST.scope\n';
    expect(parseCgroups(text, 'GUEST')).toEqual([
      { hierarchy: 'name=systemd', path: '/', own: false },
      { hierarchy: 'memory', path: '/wirt/ab/GUEST', own: true },
      { hierarchy: 'cpu,cpuacct', path: '/wirt/ab/OTHER', own: false },
      { hierarchy: 'v2', path: '/wirt-ab-GUEST.scope', own: true },
    ]);
  });

  it('finds the start time behind a command name with spaces and parentheses', () => {
    const after = Array.from({ length: 30 }, (_none, index) => String(index + 3)).join(' ');
    expect(parseStartTime(`42 (a) b (c) ${after}`)).toBe('22');
  });
});
