import { afterEach, describe, expect, it } from 'vitest';
import { filesOf, removeFiles } from '../../platform/host-files.fixture.ts';
import { readCpu } from './cpu.ts';

afterEach(removeFiles);

const cpuinfo = (vendor: string, model: string, flags: string): string =>
  `processor\t: 0\nvendor_id\t: ${vendor}\nmodel name\t: ${model}\nflags\t\t: fpu ${flags} sse2\n\nprocessor\t: 1\n`;

const topology = (cpu: number, socket: number, siblings: string): Record<string, string> => ({
  [`/sys/devices/system/cpu/cpu${cpu}/topology/physical_package_id`]: `${socket}\n`,
  [`/sys/devices/system/cpu/cpu${cpu}/topology/core_cpus_list`]: `${siblings}\n`,
});

describe('the processor', () => {
  it('is counted in sockets, cores and threads, without those that are offline', async () => {
    const files = await filesOf({
      '/proc/cpuinfo': cpuinfo('GenuineIntel', 'Example Gold', 'vmx'),
      ...topology(0, 0, '0,4'),
      ...topology(4, 0, '0,4'),
      ...topology(1, 0, '1'),
      ...topology(2, 1, '2'),
      '/sys/devices/system/cpu/cpu3/online': '0\n',
      '/sys/devices/system/cpu/cpufreq/policy0': '',
      '/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor': 'powersave\n',
    });
    expect(await readCpu(files, 'x86_64')).toEqual({
      cpu: { model: 'Example Gold', sockets: 2, cores: 3, threads: 4, virtualization: 'vmx' },
      vendor: 'intel',
      governor: 'powersave',
    });
  });

  it('offers no virtualization when neither flag is there, whatever devices there are', async () => {
    const files = await filesOf({ '/proc/cpuinfo': cpuinfo('AuthenticAMD', 'E', 'vmmcall'), '/dev/kvm': '' });
    expect((await readCpu(files, 'x86_64')).cpu.virtualization).toBe('none');
    const svm = await filesOf({ '/proc/cpuinfo': cpuinfo('AuthenticAMD', 'E', 'svm') });
    expect((await readCpu(svm, 'x86_64')).cpu.virtualization).toBe('svm');
  });

  it('is trusted by its device on Arm, whose cpuinfo does not say', async () => {
    const arm = { '/proc/cpuinfo': 'processor\t: 0\nCPU part\t: 0xd0c\n' };
    expect((await readCpu(await filesOf({ ...arm, '/dev/kvm': '' }), 'aarch64')).cpu.virtualization).toBe(
      'arm',
    );
    expect((await readCpu(await filesOf(arm), 'aarch64')).cpu).toMatchObject({
      model: '0xd0c',
      virtualization: 'none',
    });
  });

  it('is one of everything when nothing can be read', async () => {
    expect((await readCpu(await filesOf({}), 'x86_64')).cpu).toEqual({
      model: 'unknown',
      sockets: 1,
      cores: 1,
      threads: 1,
      virtualization: 'none',
    });
  });
});
