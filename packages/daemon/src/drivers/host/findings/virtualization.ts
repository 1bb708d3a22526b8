// Judges KVM and QEMU. Pure.
import type { HostFinding } from '@wirt/api';
import type { HostFacts } from '../facts.ts';
import { installQemu } from '../qemu-binary.ts';
import { missingFeatures } from '../qemu-features.ts';

export function virtualizationFindings(facts: HostFacts): HostFinding[] {
  return [kvm(facts), qemu(facts)];
}

function kvm(facts: HostFacts): HostFinding {
  const { kvm: seen, cpu } = facts.host;
  const head = { id: 'kvm', title: 'KVM' };
  if (seen.usable)
    return {
      ...head,
      level: 'ok',
      found: `/dev/kvm opens, ${cpu.virtualization}`,
      why: 'Guests run on the processor itself.',
    };
  return {
    ...head,
    level: 'missing',
    found: seen.why,
    why: 'Guests run under TCG, which translates their code: work that computes takes about ten times as long, and more.',
    fix: kvmFix(facts),
  };
}

function kvmFix({ host, vendor, kvm: { opensForGuests } }: HostFacts): string {
  const { device, opens } = host.kvm;
  const { virtualization } = host.cpu;
  const module = vendor === 'amd' ? 'kvm_amd' : 'kvm_intel';
  if (virtualization === 'none' && host.architecture === 'x86_64')
    return `# In the firmware, turn on ${vendor === 'amd' ? 'AMD-V (SVM)' : 'VT-x'}. If this is a virtual machine, on its host: echo "options ${module} nested=1" > /etc/modprobe.d/kvm-nested.conf && modprobe -r ${module} && modprobe ${module}`;
  if (!device) return `modprobe ${module}`;
  if (!opens && !host.security.privileged) return 'sudo usermod -aG kvm "$USER"  # then log in again';
  if (!opens || !opensForGuests) return 'groupadd -rf kvm && chgrp kvm /dev/kvm && chmod 660 /dev/kvm';
  return 'dmesg | grep -i kvm';
}

/** Useful, and done without where they are missing. */
const gains: Readonly<Record<string, string>> = {
  kvm: 'KVM, so that guests are not translated',
  microvm: 'the machine type microvm, which boots fastest',
  'user-network': 'networks without root (slirp)',
  'io-uring': 'the fastest disk I/O',
  vfio: 'devices of the host in a guest',
};

function qemu({ host: { qemu: found }, qemuProblem }: HostFacts): HostFinding {
  const head = { id: 'qemu', title: 'QEMU' };
  if (found === undefined)
    return {
      ...head,
      level: 'missing',
      found: qemuProblem?.message ?? 'not found',
      why: 'QEMU runs the guests: none can be started without it.',
      fix: qemuProblem?.code === 'host.qemu_broken' ? `${installQemu} --reinstall` : installQemu,
    };
  const needed = missingFeatures(found);
  const name = `${found.binary} ${found.version}`;
  if (needed.length > 0)
    return {
      ...head,
      level: 'missing',
      found: `${name} without ${needed.join(', ')}`,
      why: 'Every guest is started with these: none can be started.',
      fix: installQemu,
    };
  const absent = Object.entries(gains).filter(([feature]) => found.features[feature] !== true);
  if (absent.length > 0)
    return {
      ...head,
      level: 'better',
      found: `${name} without ${absent.map(([feature]) => feature).join(', ')}`,
      why: `This build leaves out ${absent.map(([, gain]) => gain).join('; ')}.`,
      fix: installQemu,
    };
  const limits = Object.entries(found.maxCpus).map(([machine, cpus]) => `${machine} up to ${cpus} CPUs`);
  return {
    ...head,
    level: 'ok',
    found: `${name}; ${limits.join(', ')}`,
    why: 'It has all that Wirt makes use of.',
  };
}
