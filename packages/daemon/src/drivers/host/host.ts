// HostInspector: reads the machine when asked, and lets the findings judge it. `memory` and `accelerator` are read at every
// start and touch only the few files they need.
import { hostname, machine, release } from 'node:os';
import { delimiter } from 'node:path';
import { type Host, WirtError } from '@wirt/api';
import type { HostInspector, Logger } from '@wirt/core';
import { createHostFiles, type HostFiles } from '../../platform/host-files.ts';
import { findUefiImages } from '../../platform/uefi-images.ts';
import { readCpu, readVirtualization } from './cpu.ts';
import type { HostFacts } from './facts.ts';
import { findingsOf } from './findings/findings.ts';
import { networkTools } from './findings/network.ts';
import { neededTools } from './findings/tools.ts';
import { type KvmFacts, readKvm } from './kvm.ts';
import { readHugePages, readMemory, readNuma, readPages } from './memory.ts';
import { readIommu, readSriovDevices } from './pci.ts';
import { createQemuProbe, installQemu, type Qemu, requireFeatures } from './qemu-binary.ts';
import { createQemuTrial } from './qemu-trial.ts';
import { readCgroup, readIoUring, readSecurityModules } from './security.ts';
import { findClashes } from './uid-clashes.ts';

export interface HostInspectorOptions {
  /** A path, or a name to look for in PATH. */
  readonly qemuBinary: string;
  /** Where probes of the QEMU binary are kept. */
  readonly cacheDirectory: string;
  /** The uids that guests get. */
  readonly uidRange: { readonly first: number; readonly count: number };
  readonly logger: Logger;
  /** Whether guests' memory can be in huge pages without any being set aside. */
  readonly memoryFiles: { usable(): Promise<boolean> };
  /** Where the machine's files are; another one in tests. */
  readonly files?: HostFiles;
}

export interface QemuInspector {
  /** The QEMU that guests are run by. Throws `host.qemu_missing`, `host.qemu_broken`, `host.qemu_too_old`. */
  requireQemu(signal: AbortSignal): Promise<Qemu>;
}

const probeWaitMs = 30_000;

export function createHostInspector(
  options: HostInspectorOptions,
): Omit<HostInspector, 'requireQemu'> & QemuInspector {
  const { files = createHostFiles(), uidRange, memoryFiles } = options;
  const qemu = createQemuProbe(options);
  const trial = createQemuTrial();
  const isPrivileged = (): boolean => process.geteuid?.() === 0;
  const bootId = async (): Promise<string> =>
    (await files.line('/proc/sys/kernel/random/boot_id')) ?? 'unknown';
  const kvm = async (): Promise<KvmFacts> =>
    readKvm(files, {
      virtualization: await readVirtualization(files, machine()),
      isPrivileged: isPrivileged(),
    });
  const probed = (signal: AbortSignal) => tryProbe(() => qemu.probe(signal));

  async function facts(signal: AbortSignal): Promise<HostFacts> {
    const [found, seen] = await Promise.all([
      probed(signal),
      readFacts(files, { isPrivileged: isPrivileged(), uidRange, memoryFiles }),
    ]);
    const kvmFacts = withoutKvmBuild(seen.kvm, found.qemu);
    signal.throwIfAborted();
    return {
      ...seen,
      kvm: kvmFacts,
      qemuProblem: found.problem,
      host: {
        ...seen.host,
        bootId: await bootId(),
        kvm: kvmFacts.kvm,
        accelerator: kvmFacts.kvm.usable ? 'kvm' : 'tcg',
        ...(found.qemu === undefined ? {} : { qemu: toHostQemu(found.qemu) }),
      },
    };
  }

  return {
    inspect: async (signal) => (await facts(signal)).host,
    check: async (signal) => findingsOf(await facts(signal)),
    async memory() {
      const { totalMib, availableMib, hugePagesMib } = await readMemory(files);
      return { totalMib, availableMib, hugePagesMib };
    },
    async accelerator(wanted) {
      if (wanted === 'tcg') return 'tcg';
      const seen = await kvm();
      if (wanted === 'kvm') return requireKvm(seen);
      if (!seen.kvm.usable) return 'tcg';
      // A QEMU that does not answer is for the start to refuse, with its own error.
      const { qemu: found } = await probed(AbortSignal.timeout(probeWaitMs));
      return withoutKvmBuild(seen, found).kvm.usable ? 'kvm' : 'tcg';
    },
    hasVsock: () => files.exists('/dev/vhost-vsock'),
    bootId,
    acceleratorVcpus: async (of, signal) => trial.acceleratorVcpus(await qemu.probe(signal), of),
    cpuModels: async (accelerator, signal) => trial.cpuModels(await qemu.probe(signal), accelerator),
    requireQemu: async (signal) => requireFeatures(await qemu.probe(signal)),
  };
}

function toHostQemu({ binary, version, machines, maxCpus, features }: Qemu): NonNullable<Host['qemu']> {
  return { binary, version, machines: [...machines], maxCpus: { ...maxCpus }, features: { ...features } };
}

/** Asked for by name, KVM is taken also where it is slow; not where it does not open. */
function requireKvm({ kvm, opensForGuests }: KvmFacts): 'kvm' {
  if (kvm.opens && opensForGuests) return 'kvm';
  throw new WirtError('host.kvm_unusable', 'KVM was asked for and cannot be used on this host.', {
    cause: new Error(
      kvm.opens ? '/dev/kvm opens for root only, and guests run under their own uid' : kvm.why,
    ),
    hint: 'See `wirt host check` for the command that mends it, or take the accelerator `auto` or `tcg`.',
  });
}

function withoutKvmBuild(seen: KvmFacts, qemu: Qemu | undefined): KvmFacts {
  if (!seen.kvm.usable || qemu === undefined || qemu.features['kvm'] === true) return seen;
  return { ...seen, kvm: { ...seen.kvm, usable: false, why: `${qemu.binary} is built without KVM.` } };
}

async function tryProbe(
  probe: () => Promise<Qemu>,
): Promise<{ qemu: Qemu | undefined; problem: HostFacts['qemuProblem'] }> {
  try {
    return { qemu: await probe(), problem: undefined };
  } catch (error) {
    if (!(error instanceof WirtError)) throw error;
    const { code, message, hint = installQemu } = error;
    return { qemu: undefined, problem: { code, message, hint } };
  }
}

/** Everything but what the QEMU binary says. */
async function readFacts(
  files: HostFiles,
  {
    isPrivileged,
    uidRange,
    memoryFiles,
  }: Pick<HostInspectorOptions, 'uidRange' | 'memoryFiles'> & { readonly isPrivileged: boolean },
): Promise<HostFacts> {
  const architecture = machine();
  const [cpu, pages, cgroup, modules, ioUring] = await Promise.all([
    readCpu(files, architecture),
    readPages(files, memoryFiles),
    readCgroup(files, isPrivileged),
    readSecurityModules(files),
    readIoUring(files),
  ]);
  const kvm = await readKvm(files, { virtualization: cpu.cpu.virtualization, isPrivileged });
  const osRelease = (await files.text('/etc/os-release')) ?? '';
  return {
    host: {
      hostname: hostname(),
      kernel: release(),
      architecture,
      distribution: /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(osRelease)?.[1] ?? 'unknown',
      bootId: '',
      cpu: cpu.cpu,
      numa: await readNuma(files),
      memory: await readMemory(files),
      hugePages: await readHugePages(files),
      kvm: kvm.kvm,
      accelerator: 'tcg',
      cgroup: cgroup.cgroup,
      security: { ...modules, privileged: isPrivileged },
      iommu: await readIommu(files),
      sriovDevices: await readSriovDevices(files),
      ioUring: ioUring.ioUring,
      vhostNet: await files.exists('/dev/vhost-net'),
      vsock: await files.exists('/dev/vhost-vsock'),
      ksm: pages.ksmRun === 1,
      thp: pages.thp,
      shmemThp: pages.shmemThp,
    },
    vendor: cpu.vendor,
    governor: cpu.governor,
    pages,
    kvm,
    ioUringDisabled: ioUring.ioUringDisabled,
    qemuProblem: undefined,
    cgroupWritable: cgroup.writable,
    tools: await findTools(files),
    tun: (await files.mode('/dev/net/tun'))?.mode,
    uefi: (await findUefiImages(architecture, files))[0]?.code,
    uids: { ...uidRange, clashes: await findClashes(files, uidRange) },
  };
}

async function findTools(files: HostFiles): Promise<Record<string, boolean>> {
  const directories = (process.env['PATH'] ?? '').split(delimiter).filter(Boolean);
  const found: Record<string, boolean> = {};
  for (const name of [...Object.keys(neededTools), ...Object.keys(networkTools)]) {
    const places = await Promise.all(directories.map((directory) => files.exists(`${directory}/${name}`)));
    found[name] = places.includes(true);
  }
  return found;
}
