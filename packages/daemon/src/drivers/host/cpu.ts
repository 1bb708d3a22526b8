// The processor: model, topology, frequency governor, and whether it offers hardware virtualization to this system (which a
// /dev/kvm alone does not show).
import type { Host } from '@wirt/api';
import type { HostFiles } from '../../platform/host-files.ts';

const cpuDirectory = '/sys/devices/system/cpu';

export type Virtualization = Host['cpu']['virtualization'];

/** From the first processor's entry in /proc/cpuinfo; all have the same. */
export function parseVirtualization(cpuinfo: string, architecture: string, hasKvm: boolean): Virtualization {
  const flags = (/^flags\s*:(.*)$/m.exec(cpuinfo)?.[1] ?? '').split(' ');
  if (flags.includes('vmx')) return 'vmx';
  if (flags.includes('svm')) return 'svm';
  // Arm's cpuinfo does not say; its kernel makes the device only where it runs at the hypervisor's level.
  if (architecture === 'aarch64' && hasKvm) return 'arm';
  return 'none';
}

export function parseModel(cpuinfo: string): string {
  const field = /^(?:model name|Model|cpu model|CPU part)\s*:\s*(.*)$/m.exec(cpuinfo)?.[1];
  return field?.trim() ?? 'unknown';
}

/** /proc/cpuinfo has some 1.5 KiB per processor, and 4096 of them; one is enough. */
export function readCpuinfo(files: HostFiles): Promise<string> {
  return files.head('/proc/cpuinfo', 16 * 1024);
}

export async function readVirtualization(files: HostFiles, architecture: string): Promise<Virtualization> {
  return parseVirtualization(await readCpuinfo(files), architecture, await files.exists('/dev/kvm'));
}

export interface CpuFacts {
  readonly cpu: Host['cpu'];
  readonly vendor: 'intel' | 'amd' | 'other';
  /** cpufreq's governor; undefined where the host does not set frequencies (most virtual machines). */
  readonly governor: string | undefined;
}

export async function readCpu(files: HostFiles, architecture: string): Promise<CpuFacts> {
  const cpuinfo = await readCpuinfo(files);
  const processors = (await files.list(cpuDirectory)).filter((name) => /^cpu\d+$/.test(name));
  // One that is offline has no topology.
  const topologies = await Promise.all(
    processors.map(async (name) => ({
      socket: await files.line(`${cpuDirectory}/${name}/topology/physical_package_id`),
      core:
        (await files.line(`${cpuDirectory}/${name}/topology/core_cpus_list`)) ??
        (await files.line(`${cpuDirectory}/${name}/topology/thread_siblings_list`)),
    })),
  );
  const online = topologies.filter(({ core }) => core !== undefined);
  const vendor = /^vendor_id\s*:\s*(\S+)/m.exec(cpuinfo)?.[1];
  return {
    cpu: {
      model: parseModel(cpuinfo),
      sockets: Math.max(1, new Set(online.map(({ socket }) => socket)).size),
      cores: Math.max(1, new Set(online.map(({ core }) => core)).size),
      threads: Math.max(1, online.length),
      virtualization: parseVirtualization(cpuinfo, architecture, await files.exists('/dev/kvm')),
    },
    vendor: vendor === 'GenuineIntel' ? 'intel' : vendor === 'AuthenticAMD' ? 'amd' : 'other',
    governor: await files.line(`${cpuDirectory}/cpu0/cpufreq/scaling_governor`),
  };
}
