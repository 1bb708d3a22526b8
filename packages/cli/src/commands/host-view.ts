/** What people see of the host: what it is, and what it can do. */
import type { Host, HostSettings } from '@wirt/api';
import type { Block, Cell } from '../table.ts';
import { bytesText, mibText } from '../units.ts';

type Field = readonly [label: string, value: Cell];

export function hostBlocks(host: Host, settings?: HostSettings): Block[] {
  return [
    { kind: 'fields', fields: [...machineFields(host), ...promiseFields(settings)] },
    { kind: 'fields', title: 'Virtualization', fields: virtualizationFields(host) },
    { kind: 'fields', title: 'Isolation', fields: isolationFields(host) },
    { kind: 'fields', title: 'I/O and devices', fields: deviceFields(host) },
    ...numaBlocks(host),
    ...pciBlocks(host),
  ];
}

function amount(mib: number): string {
  return bytesText(mib * 1_048_576);
}

function machineFields({ cpu, memory, hugePages, ...host }: Host): Field[] {
  return [
    ['Host', { text: host.hostname, tone: 'bold' }],
    ['System', `${host.distribution}, Linux ${host.kernel}, ${host.architecture}`],
    ['Processor', cpu.model],
    ['Topology', `${cpu.sockets} sockets, ${cpu.cores} cores, ${cpu.threads} threads`],
    [
      'Memory',
      `${amount(memory.totalMib)}, ${amount(memory.availableMib)} available, ${amount(memory.swapTotalMib)} swap`,
    ],
    ...hugePages.map(
      ({ sizeKib, total, free }): Field => [
        `Huge pages of ${mibText(sizeKib / 1024)}`,
        `${total}, ${free} free`,
      ],
    ),
    ['Transparent huge pages', `${host.thp}, for guests’ memory ${host.shmemThp}`],
    ['KSM', onOff(host.ksm)],
  ];
}

function promiseFields(settings: HostSettings | undefined): Field[] {
  if (settings === undefined) return [];
  const { cpuOvercommit, memoryOvercommit, poolOvercommit } = settings;
  const factors = `vCPUs × ${cpuOvercommit}, memory × ${memoryOvercommit}, pools × ${poolOvercommit}`;
  return [['May be promised', `${factors} (wirt host capacity)`]];
}

function virtualizationFields({ cpu, kvm, accelerator, qemu }: Host): Field[] {
  return [
    ['Hardware', cpu.virtualization === 'none' ? { text: 'none offered', tone: 'warn' } : cpu.virtualization],
    [
      'KVM',
      { text: `${kvm.usable ? 'usable' : 'not usable'}: ${kvm.why}`, tone: kvm.usable ? 'good' : 'warn' },
    ],
    ['Accelerator', accelerator],
    ...(qemu === undefined ? [['QEMU', { text: 'not found', tone: 'bad' }] as const] : qemuFields(qemu)),
  ];
}

function qemuFields({ version, binary, machines, maxCpus, features }: NonNullable<Host['qemu']>): Field[] {
  const withCpus = machines.map(
    (machine) => `${machine}${maxCpus[machine] === undefined ? '' : ` (${maxCpus[machine]} CPUs)`}`,
  );
  const named = (there: boolean): string =>
    Object.entries(features)
      .flatMap(([name, has]) => (has === there ? [name] : []))
      .join(' ');
  return [
    ['QEMU', `${version}, ${binary}`],
    ['Machines', withCpus.join(', ')],
    ['Features', named(true) || 'none'],
    ...(named(false) === '' ? [] : [['Without', named(false)] as const]),
  ];
}

function isolationFields({ cgroup, security }: Host): Field[] {
  const controllers = cgroup.controllers.map(({ name, version }) =>
    version === cgroup.version ? name : `${name} (${version})`,
  );
  return [
    ['Control groups', `${cgroup.version}: ${controllers.join(' ') || 'no controllers'}`],
    ['SELinux', security.selinux],
    ['AppArmor', onOff(security.apparmor)],
    [
      'wirtd',
      security.privileged ? 'privileged: own uid and control group for every guest' : 'not privileged',
    ],
  ];
}

function deviceFields({ ioUring, vhostNet, vsock, iommu }: Host): Field[] {
  return [
    ['io_uring', onOff(ioUring)],
    ['vhost-net', onOff(vhostNet)],
    ['vsock', onOff(vsock)],
    ['IOMMU', iommu.enabled ? `on, ${iommu.groups} groups` : 'off'],
  ];
}

function numaBlocks({ numa }: Host): Block[] {
  if (numa.length < 2) return [];
  const rows = numa.map((each) => [
    String(each.node),
    each.cpus,
    amount(each.memoryMib),
    amount(each.freeMib),
  ]);
  return [{ kind: 'table', columns: ['NUMA NODE', 'CPUS', 'MEMORY', 'FREE'], rows, empty: '' }];
}

function pciBlocks({ sriovDevices }: Host): Block[] {
  if (sriovDevices.length === 0) return [];
  const rows = sriovDevices.map((each) => [
    each.address,
    each.vendorDevice,
    each.driver ?? '-',
    each.iommuGroup === undefined ? '-' : String(each.iommuGroup),
    `${each.sriovNumVfs ?? 0} of ${each.sriovTotalVfs ?? 0}`,
  ]);
  const columns = ['SR-IOV DEVICE', 'VENDOR:DEVICE', 'DRIVER', 'IOMMU GROUP', 'FUNCTIONS'];
  return [{ kind: 'table', columns, rows, empty: '' }];
}

function onOff(value: boolean): string {
  return value ? 'yes' : 'no';
}
