// Judges the IOMMU, SR-IOV devices, io_uring and vhost. Pure.
import type { HostFinding } from '@wirt/api';
import type { HostFacts } from '../facts.ts';

export function deviceFindings(facts: HostFacts): HostFinding[] {
  return [iommu(facts), sriov(facts), ioUring(facts), vhostNet(facts)];
}

function iommu({ host: { iommu: seen }, vendor }: HostFacts): HostFinding {
  const head = { id: 'iommu', title: 'IOMMU' };
  if (seen.enabled)
    return {
      ...head,
      level: 'ok',
      found: `${seen.groups} groups`,
      why: 'A guest can be given a device and reaches no memory but its own with it.',
    };
  const parameter = vendor === 'amd' ? 'iommu=pt' : 'intel_iommu=on iommu=pt';
  return {
    ...head,
    level: 'missing',
    found: 'off, or none',
    why: 'No device of the host, and no virtual function, can be given to a guest. Guests without such devices lose nothing.',
    fix: `sed -i 's/^GRUB_CMDLINE_LINUX="/&${parameter} /' /etc/default/grub && update-grub && reboot  # and ${vendor === 'amd' ? 'AMD-Vi' : 'VT-d'} on in the firmware`,
  };
}

function sriov({ host: { sriovDevices } }: HostFacts): HostFinding {
  const head = { id: 'sr-iov', title: 'SR-IOV' };
  if (sriovDevices.length === 0)
    return {
      ...head,
      level: 'better',
      found: 'no device that can be split',
      why: 'Guests’ networks and disks go through the host’s kernel and not past it: more processor time per packet, and no other loss.',
      fix: "lspci -vv | grep -B20 'Single Root I/O Virtualization'  # a card that has it shows here; it may be off in the firmware",
    };
  const found = sriovDevices
    .map(
      ({ address, driver, sriovNumVfs, sriovTotalVfs }) =>
        `${address} (${driver ?? 'no driver'}): ${sriovNumVfs ?? 0} of ${sriovTotalVfs ?? 0} functions`,
    )
    .join('; ');
  return { ...head, level: 'ok', found, why: 'A guest can have a function of the card for itself.' };
}

function ioUring({ host, ioUringDisabled }: HostFacts): HostFinding {
  const head = { id: 'io-uring', title: 'io_uring' };
  if (host.ioUring)
    return {
      ...head,
      level: 'ok',
      found: 'open to all',
      why: 'Disk I/O of guests takes the least processor time.',
    };
  const why =
    'Disks fall back to native AIO: more system calls for each request, so fewer small requests per second for the same processor time.';
  if (ioUringDisabled === undefined)
    return {
      ...head,
      level: 'missing',
      found: 'the kernel has none',
      why,
      fix: 'apt-get install -y linux-image-amd64 && reboot',
    };
  return {
    ...head,
    level: 'better',
    found: ioUringDisabled === 1 ? 'open to one group only' : 'closed (kernel.io_uring_disabled)',
    why,
    fix: 'sysctl -w kernel.io_uring_disabled=0',
  };
}

function vhostNet({ host }: HostFacts): HostFinding {
  const head = { id: 'vhost-net', title: 'vhost-net' };
  if (host.vhostNet)
    return { ...head, level: 'ok', found: '/dev/vhost-net', why: 'The kernel moves guests’ packets itself.' };
  return {
    ...head,
    level: 'missing',
    found: 'no /dev/vhost-net',
    why: 'Each packet of a guest goes through QEMU, which limits the bandwidth on a fast network and takes more processor time.',
    fix: 'modprobe vhost_net',
  };
}
