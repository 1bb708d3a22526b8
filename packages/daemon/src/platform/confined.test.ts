import type { Confinement } from '@wirt/core';
import { describe, expect, it, vi } from 'vitest';
import { confinedEnvironment, confinedLauncher } from './confined.ts';

const own = { uid: 200_001, gid: 200_001, groups: [], own: true };
const limits = { addressSpaceBytes: 1024 ** 3, cpuSeconds: 59.2, fileBytes: 4096 };

/** The text is the same for every program; what comes after it is not. */
function afterText(confinement: Confinement, given = limits): string[] {
  const words = confinedLauncher(confinement, given);
  return words.slice(words.indexOf('-c') + 2);
}

describe('the words that confine a program', () => {
  it('join the groups, leave the network, set limits, take the uid and give up every privilege', () => {
    const joinFiles = ['/cg/a/cgroup.procs', '/cg/b c/tasks'];
    expect(afterText({ identity: own, controlGroup: { joinFiles } })).toEqual([
      'wirt-confined',
      '2',
      ...joinFiles,
      'unshare',
      '--net',
      'prlimit',
      '--as=1073741824',
      '--cpu=60',
      '--fsize=4096',
      '--nofile=1024',
      '--nproc=256',
      '--core=0',
      'setpriv',
      '--reuid=200001',
      '--regid=200001',
      '--clear-groups',
      '--no-new-privs',
      '--inh-caps=-all',
      '--ambient-caps=-all',
      '--bounding-set=-all',
      '--pdeathsig=KILL',
      '--',
    ]);
  });

  it('ask an ordinary user for nothing that only root may do', () => {
    const identity = { ...own, own: false };
    expect(afterText({ identity, controlGroup: { joinFiles: [] } })).toEqual([
      'wirt-confined',
      '0',
      ...['prlimit', '--as=1073741824', '--cpu=60', '--fsize=4096', '--nofile=1024', '--core=0'],
      ...['setpriv', '--no-new-privs', '--pdeathsig=KILL', '--'],
    ]);
  });

  it('leave out the limits that are not given', () => {
    const words = confinedLauncher({ identity: own, controlGroup: { joinFiles: [] } }, {});
    expect(words.filter((word) => /^--(as|cpu|fsize)/.test(word))).toEqual([]);
  });

  it('have the groups and the SELinux label where there are any', () => {
    const identity = { ...own, groups: [36], selinuxLabel: 'system_u:system_r:svirt_t:s0:c1,c2' };
    const words = afterText({ identity, controlGroup: { joinFiles: [] } });
    expect(words).toContain('--groups=36');
    expect(words).toContain('--selinux-label=system_u:system_r:svirt_t:s0:c1,c2');
  });

  it('start in a scope under systemd, which goes with the program', () => {
    const controlGroup = { joinFiles: [], scopeUnit: 'wirt-t-1.scope' };
    const words = confinedLauncher({ identity: own, controlGroup }, limits);
    expect(words.slice(0, 10)).toEqual([
      ...[
        'systemd-run',
        '--scope',
        '--quiet',
        '--collect',
        '--unit=wirt-t-1.scope',
        '-p',
        'Delegate=yes',
        '--',
      ],
      ...['sh', '-c'],
    ]);
    const user = confinedLauncher({ identity: { ...own, own: false }, controlGroup }, limits);
    expect(user.slice(0, 2)).toEqual(['systemd-run', '--user']);
  });
});

it('gives a program nothing of the environment but the way to programs, and to the systemd that confines it', () => {
  vi.stubEnv('XDG_RUNTIME_DIR', '/run/user/7');
  vi.stubEnv('DBUS_SESSION_BUS_ADDRESS', undefined);
  vi.stubEnv('SECRET', 'secret');
  try {
    const found = { PATH: process.env['PATH'], LC_ALL: 'C.UTF-8' };
    expect(confinedEnvironment({ controlGroup: { joinFiles: [] } })).toEqual(found);
    expect(confinedEnvironment({ controlGroup: { joinFiles: [], scopeUnit: 'wirt-a.scope' } })).toEqual({
      ...found,
      XDG_RUNTIME_DIR: '/run/user/7',
    });
  } finally {
    vi.unstubAllEnvs();
  }
});
