import type { Confinement } from '@wirt/core';
import { describe, expect, it } from 'vitest';
import { shimCommand } from './shim.ts';

const options = {
  id: '01K00000000000000000000001',
  runDirectory: '/run/wirt/instances/01K00000000000000000000001',
  qemuBinary: 'qemu-system-x86_64',
  qemuArguments: ['-S', 'a b; "$(rm)"'],
  privileged: true,
};
const own = { uid: 200_001, gid: 200_001, groups: [], own: true };

function command(confinement: Confinement, privileged = true): string[] {
  const { program, arguments: args } = shimCommand({ ...options, confinement, privileged });
  return [program, ...args];
}
/** The text is the same for every guest; what comes after it is not. */
const afterText = (argv: readonly string[]): string[] => argv.slice(argv.indexOf('-c') + 2);

describe('the command that starts a guest', () => {
  it('joins the groups, takes the uid and gives up every privilege', () => {
    const joinFiles = ['/cg/a/cgroup.procs', '/cg/b/cgroup.procs'];
    expect(afterText(command({ identity: own, controlGroup: { joinFiles } }))).toEqual([
      'wirt-guest',
      options.id,
      options.runDirectory,
      '2',
      ...joinFiles,
      'setpriv',
      '--reuid=200001',
      '--regid=200001',
      '--clear-groups',
      '--no-new-privs',
      '--inh-caps=-all',
      '--ambient-caps=-all',
      '--bounding-set=-all',
      '--',
      'qemu-system-x86_64',
      '-S',
      'a b; "$(rm)"',
    ]);
  });

  it('may lock as much of the host’s memory as a device of the host needs', () => {
    const confinement = { identity: own, controlGroup: { joinFiles: [] } };
    const { arguments: args } = shimCommand({ ...options, confinement, lockedBytes: 1_342_177_280 });
    expect(afterText(args).slice(4, 7)).toEqual(['prlimit', '--memlock=1342177280:1342177280', 'setpriv']);
    expect(command(confinement)).not.toContain('prlimit');
  });

  it('has the groups for devices and the SELinux label where there are any', () => {
    const identity = { ...own, groups: [104, 36], selinuxLabel: 'system_u:system_r:svirt_t:s0:c1,c2' };
    const argv = command({ identity, controlGroup: { joinFiles: [] } });
    expect(argv).toContain('--groups=104,36');
    expect(argv).not.toContain('--clear-groups');
    expect(argv).toContain('--selinux-label=system_u:system_r:svirt_t:s0:c1,c2');
  });

  it('asks an ordinary user for nothing that only root may do', () => {
    const identity = { ...own, own: false };
    const argv = afterText(command({ identity, controlGroup: { joinFiles: [] } }));
    expect(argv.slice(4, 7)).toEqual(['setpriv', '--no-new-privs', '--']);
  });

  it('is started in a scope under systemd, the user’s own for an ordinary user', () => {
    const controlGroup = { joinFiles: [], scopeUnit: 'wirt-t-1.scope' };
    const scope = ['--scope', '--quiet', '--unit=wirt-t-1.scope', '-p', 'Delegate=yes', '--', 'sh', '-c'];
    expect(command({ identity: own, controlGroup }).slice(0, 9)).toEqual(['systemd-run', ...scope]);
    const user = command({ identity: { ...own, own: false }, controlGroup }, false);
    expect(user.slice(0, 10)).toEqual(['systemd-run', '--user', ...scope]);
  });

  it('has a text that is the same whatever the guest is', () => {
    const text = (uid: number): string | undefined =>
      command({ identity: { ...own, uid }, controlGroup: { joinFiles: [] } })[2];
    expect(text(1)).toBe(text(2));
  });
});
