// Facts of made-up hosts: one on which nothing is left to mend, and changes to it.
import type { Host } from '@wirt/api';
import type { HostFacts } from './facts.ts';
import { judgeKvm } from './kvm.ts';
import { probeOutput } from './probe.fixture.ts';
import { parseProbe } from './qemu-features.ts';

const kvm = judgeKvm({
  access: { mode: 0o660, gid: 104 },
  opened: true,
  virtualization: 'vmx',
  isPrivileged: true,
});
const probed = parseProbe(probeOutput({ streamOptions: ['addr', 'server', 'reconnect'] }));

const host: Host = {
  hostname: 'example',
  kernel: '6.12.0',
  architecture: 'x86_64',
  distribution: 'Debian GNU/Linux 13 (trixie)',
  bootId: '00000000-0000-4000-8000-000000000000',
  cpu: { model: 'Example Gold', sockets: 2, cores: 64, threads: 128, virtualization: 'vmx' },
  numa: [{ node: 0, cpus: '0-127', memoryMib: 262_144, freeMib: 200_000 }],
  memory: { totalMib: 262_144, availableMib: 200_000, swapTotalMib: 8192 },
  hugePages: [{ sizeKib: 2048, total: 1024, free: 512 }],
  kvm: kvm.kvm,
  accelerator: 'kvm',
  qemu: {
    binary: '/usr/bin/qemu-system-x86_64',
    version: probed.version,
    machines: [...probed.machines],
    maxCpus: { ...probed.maxCpus },
    features: { ...probed.features },
  },
  cgroup: {
    version: 'v2',
    controllers: ['cpu', 'cpuset', 'io', 'memory', 'pids'].map((name) => ({ name, version: 'v2' })),
  },
  security: { selinux: 'enforcing', apparmor: false, privileged: true },
  iommu: { enabled: true, groups: 40 },
  sriovDevices: [
    { address: '0000:01:00.0', vendorDevice: '8086:10c9', driver: 'igb', sriovTotalVfs: 7, sriovNumVfs: 2 },
  ],
  ioUring: true,
  vhostNet: true,
  vsock: true,
  ksm: false,
  thp: 'madvise',
  shmemThp: 'advise',
};

export const goodFacts: HostFacts = {
  host,
  vendor: 'intel',
  governor: 'performance',
  pages: { thp: 'madvise', shmemThp: 'advise', ksmRun: 0, numaBalancing: 1 },
  kvm,
  ioUringDisabled: 0,
  qemuProblem: undefined,
  cgroupWritable: true,
  tools: {
    setpriv: true,
    cpio: true,
    'dpkg-deb': true,
    'apt-get': true,
    mmdebstrap: true,
    genisoimage: true,
    ip: true,
    nft: true,
    dnsmasq: true,
    passt: true,
  },
  tun: 0o666,
  uefi: '/usr/share/OVMF/OVMF_CODE_4M.fd',
  uids: { first: 2_130_706_432, count: 65_536, clashes: [] },
};

type FactsChange = Partial<Omit<HostFacts, 'host'>> & { readonly host?: Partial<Host> };

export function changed({ host: hostChange = {}, ...change }: FactsChange): HostFacts {
  return { ...goodFacts, ...change, host: { ...goodFacts.host, ...hostChange } };
}

/** An ordinary user on a bare machine: next to nothing is there. */
export const bareFacts: HostFacts = withoutQemu(
  changed({
    vendor: 'amd',
    governor: 'powersave',
    pages: { thp: 'absent', shmemThp: 'never', ksmRun: undefined, numaBalancing: 0 },
    kvm: judgeKvm({ access: undefined, opened: 'ENOENT', virtualization: 'none', isPrivileged: false }),
    ioUringDisabled: undefined,
    qemuProblem: {
      code: 'host.qemu_missing',
      message: 'No executable QEMU binary qemu-system-x86_64 was found.',
      hint: 'Install it.',
    },
    cgroupWritable: false,
    tools: {},
    tun: undefined,
    uefi: undefined,
    uids: { first: 2_130_706_432, count: 65_536, clashes: ['far in /etc/passwd'] },
    host: {
      cpu: { ...host.cpu, virtualization: 'none' },
      numa: [0, 1].map((node) => ({ node, cpus: String(node), memoryMib: 1024, freeMib: 10 })),
      memory: { totalMib: 2048, availableMib: 100, swapTotalMib: 0 },
      hugePages: [],
      kvm: { device: false, opens: false, usable: false, why: 'There is no /dev/kvm.' },
      accelerator: 'tcg',
      cgroup: { version: 'none', controllers: [] },
      security: { selinux: 'off', apparmor: false, privileged: false },
      iommu: { enabled: false, groups: 0 },
      sriovDevices: [],
      ioUring: false,
      vhostNet: false,
      vsock: false,
    },
  }),
);

function withoutQemu(facts: HostFacts): HostFacts {
  const { qemu: _gone, ...rest } = facts.host;
  return { ...facts, host: rest };
}
