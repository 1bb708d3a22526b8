import type { LaunchPlan } from '@wirt/core';
import { describe, expect, it } from 'vitest';
import { qemuArguments } from './arguments.ts';

const plan: LaunchPlan = {
  id: '01K00000000000000000000001',
  uuid: '01980000-0000-0000-0000-000000000001',
  machine: 'q35',
  accelerator: 'tcg',
  cpuModel: 'max',
  cpus: 2,
  memoryMib: 256,
  nics: [{ type: 'user', mac: '02:00:00:00:00:01', hostname: 'demo' }],
  boot: {
    kernel: '/images/micro/vmlinuz',
    initrd: '/images/micro/initrd',
    kernelArgs: 'console=ttyS0 quiet',
  },
};
const nic = (last: number): LaunchPlan['nics'][number] => ({
  type: 'user',
  mac: `02:00:00:00:00:0${last}`,
  hostname: 'demo',
});

const cases: Record<string, LaunchPlan> = {
  'q35-tcg': plan,
  'q35-kvm': { ...plan, accelerator: 'kvm', cpuModel: 'host', cpus: 64, memoryMib: 2_097_152 },
  'q35-three-nics': { ...plan, nics: [nic(1), nic(2), nic(3)] },
  'q35-no-nics': { ...plan, nics: [] },
  'microvm-tcg': { ...plan, machine: 'microvm' },
  'microvm-kvm-two-nics': {
    ...plan,
    machine: 'microvm',
    accelerator: 'kvm',
    cpuModel: 'host',
    nics: [nic(1), nic(2)],
  },
};

/** One option and its value a line. */
function lines(argv: readonly string[]): string {
  return `${argv.join('\n').replaceAll(/\n(?!-)/g, ' ')}\n`;
}

describe('the command line of QEMU', () => {
  it.each(Object.entries(cases))('for %s is the one on file', async (name, given) => {
    await expect(lines(qemuArguments(given, 'tag'))).toMatchFileSnapshot(`golden/${name}.txt`);
  });

  it('keeps a comma in a host name from starting another option', () => {
    const argv = qemuArguments({ ...plan, nics: [{ ...nic(1), hostname: 'a,smb=/etc' }] }, 'tag');
    expect(argv).toContain('user,id=net0,ipv4=on,ipv6=on,hostname=a,,smb=/etc');
  });

  it('denies all four groups of system calls', () => {
    const argv = qemuArguments(plan, 'tag');
    expect(argv[argv.indexOf('-sandbox') + 1]).toBe(
      'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny',
    );
  });
});
