/** Says, setting by setting, what a guest got of the host, who chose it, why, and what it would have on a host with more. Pure. */
import type { Host, Instance, InstancePlacement, TuningSetting } from '@wirt/api';
import { maxIothreadsPerDisk, queuesPerIothread, spreading, wantedIothreads } from '../disk-iothreads.ts';
import { networkSettings } from './network-settings.ts';
import { withNextStart } from './next-start.ts';
import { platformSettings, wideSettings } from './platform-settings.ts';
import { defaultProfile, type Profile, pageSizeText, profileOf, profiles, tuningInForce } from './profile.ts';
import { isDedicated, pageSizeOf, placementOf } from './request.ts';

/** A device of the host that the guest has, or would have. */
export interface LentDevice {
  readonly name: string;
  /** Address, or UUID of a mediated device. */
  readonly what: string;
  /** Of the host; undefined: the firmware does not say. */
  readonly node?: number;
  /** It is a function of this pool. */
  readonly pool?: string;
}

export interface TuningGround {
  readonly host: Pick<Host, 'ioUring' | 'vhostNet' | 'vsock' | 'thp' | 'shmemThp' | 'numa' | 'ksm'> & {
    readonly qemu?: Pick<NonNullable<Host['qemu']>, 'version' | 'features'> | undefined;
  };
  readonly networkDriver: 'bridge' | 'user';
  readonly accelerator: 'kvm' | 'tcg';
  readonly whyAccelerator: string;
  /** Of the run, or of the next start; undefined where nothing is planned. */
  readonly placement: InstancePlacement | undefined;
  /** Of the control group, where something is asked for. */
  readonly weight: number | undefined;
  /** Of the host; or why it would be lent none. */
  readonly devices?: readonly LentDevice[] | { readonly message: string; readonly hint: string };
  /** Why its next start would be refused as things are, and what to do. */
  readonly refusal?: { readonly message: string; readonly hint: string } | undefined;
}

type From = TuningSetting['from'];

/** Who chose what the instance itself says, or does not. */
function chosenBy({ tuning }: Instance['spec'], own: unknown): From {
  if (own !== undefined) return 'spec';
  return tuning?.profile === undefined ? 'default' : 'profile';
}

export function explainTuning(asked: Instance, ground: TuningGround): TuningSetting[] {
  const instance = { ...asked, spec: { ...asked.spec, tuning: tuningInForce(asked) } };
  const settings = [
    ...processors(instance, ground),
    ...memory(instance, ground),
    ...places(instance, ground),
    ...devices(instance, ground),
    ...platformSettings(instance),
    ...hostDevices(ground),
  ];
  return withNextStart(settings, { asked, started: instance });
}

function processors(
  instance: Instance,
  { accelerator, whyAccelerator, placement, weight }: TuningGround,
): TuningSetting[] {
  const { spec, status } = instance;
  const { cpus, maxCpus } = status.run ?? {
    cpus: spec.cpus,
    maxCpus: Math.max(spec.cpus, spec.maxCpus ?? 0),
  };
  const topology = placement?.topology ?? { sockets: 1, cores: maxCpus, threads: 1 };
  const profile = profileOf(spec.tuning);
  const isOwn = spec.limits?.cpu?.weight !== undefined;
  return [
    {
      setting: 'accelerator',
      value: accelerator,
      from: spec.accelerator === 'auto' ? 'host' : 'spec',
      why: whyAccelerator,
      ...(accelerator === 'tcg'
        ? {
            better:
              'KVM, some ten times as fast, on a host whose processor offers virtualization: `wirt host check`.',
          }
        : {}),
    },
    {
      setting: 'cpuModel',
      value: spec.cpuModel ?? (accelerator === 'kvm' ? 'host' : 'max'),
      from: spec.cpuModel === undefined ? 'default' : 'spec',
      why:
        spec.cpuModel === undefined
          ? 'All that the processor, or its emulation, can do.'
          : 'As asked for, so that it is the same on other hosts.',
    },
    { setting: 'cpus', value: `${cpus} of at most ${maxCpus}`, from: 'spec', why: 'As asked for.' },
    {
      setting: 'topology',
      value: `${topology.sockets},${topology.cores},${topology.threads}`,
      from: spec.tuning?.topology === undefined ? 'default' : 'spec',
      why: 'Sockets, cores of each, threads of each, as the guest’s scheduler sees them.',
    },
    ...wideSettings(instance, { accelerator, topology }),
    {
      setting: 'cpu.weight',
      value: String(weight ?? 100),
      from: isOwn ? 'spec' : weight === undefined ? 'default' : 'profile',
      why: isOwn ? 'As asked for.' : profile.why.weight,
    },
  ];
}

function memory({ spec, status }: Instance, { host, placement }: TuningGround): TuningSetting[] {
  const profile = profileOf(spec.tuning);
  const wanted = pageSizeOf({ spec });
  const sizeKib = placement?.pageSizeKib;
  const own = spec.tuning?.hugePages;
  // What is merged is private memory, all else is shared.
  const merged =
    status.run === undefined ? profile.mergeable && sizeKib === undefined : status.run.mergeable === true;
  const thpText = merged ? host.thp : host.shmemThp;
  const isShort = wanted !== undefined && sizeKib === undefined;
  const pages: TuningSetting = {
    setting: 'hugepages',
    value: sizeKib === undefined ? 'none' : pageSizeText(sizeKib),
    from: chosenBy(spec, own),
    why: own !== undefined ? 'As asked for.' : profile.why.hugePages,
    ...(isShort
      ? { better: `Pages of ${pageSizeText(wanted)}, on a host that has some set aside or lets Wirt do it.` }
      : {}),
  };
  const thp: TuningSetting = {
    setting: 'transparentHugePages',
    value: sizeKib === undefined ? thpText : 'not needed',
    from: 'host',
    why: 'Whether the kernel puts the guest’s memory together to huge pages as it is used.',
    ...(sizeKib === undefined && (thpText === 'never' || thpText === 'deny')
      ? { better: '`advise`: `wirt host check` says what is missing.' }
      : {}),
  };
  return [
    pages,
    thp,
    {
      setting: 'memory.merge',
      value: merged ? 'yes' : 'no',
      from: chosenBy(spec, undefined),
      why: whyOf(profile, 'mergeable', merged),
      ...(merged && !host.ksm
        ? { better: 'Merging, once the kernel does it: `echo 1 > /sys/kernel/mm/ksm/run`.' }
        : {}),
    },
    reporting({ spec, status }, profile),
  ];
}

/** What was read back of a guest that runs, and else what is asked for. */
function reporting({ spec, status }: Pick<Instance, 'spec' | 'status'>, profile: Profile): TuningSetting {
  const effective = status.limits?.effective;
  const own = spec.limits?.memory?.freePageReporting;
  const asked = own ?? profile.freePageReporting;
  const has = effective?.memoryMib === undefined ? asked : effective.memory?.freePageReporting === true;
  return {
    setting: 'memory.free-page-reporting',
    value: has ? 'yes' : 'no',
    // What was asked for when it was started may have been taken back since.
    from: chosenBy(spec, has === own || has !== profile.freePageReporting ? has : undefined),
    why: whyOf(profile, 'freePageReporting', has),
  };
}

function places({ spec }: Instance, { host, placement, refusal }: TuningGround): TuningSetting[] {
  const shape = { spec };
  const profile = profileOf(spec.tuning);
  const nodes = placement?.nodes ?? [];
  const pins = Object.entries(placement?.vcpuPins ?? {});
  const isOnlyNode = host.numa.length <= 1;
  const settings: TuningSetting[] = [
    {
      setting: 'placement',
      value: nodes.length === 0 ? placementOf(shape) : `${placementOf(shape)}: node ${nodes.join(', ')}`,
      from: chosenBy(spec, spec.tuning?.placement),
      why:
        isOnlyNode && nodes.length === 0
          ? 'The host has one node, which is near everywhere.'
          : whyOf(profile, 'placement', placementOf(shape)),
    },
    // Each is a line of its own below it.
    ...(placement?.reasons ?? []).map(
      (why): TuningSetting => ({ setting: 'placement', value: '', from: 'default', why }),
    ),
    ...(refusal === undefined ? [] : [nowhere(refusal)]),
    {
      setting: 'dedicated',
      value: placement?.dedicated ?? (isDedicated(shape) ? 'yes' : 'no'),
      from: chosenBy(spec, spec.tuning?.dedicated),
      why: whyOf(profile, 'dedicated', isDedicated(shape)),
    },
  ];
  if (pins.length > 0)
    settings.push({
      setting: 'pins',
      value: pins.map(([vcpu, cpus]) => `${vcpu}: ${cpus}`).join(', '),
      from: placement?.userPins?.vcpus === undefined ? 'default' : 'spec',
      why: 'Where each vCPU runs.',
    });
  return settings;
}

function nowhere({ message, hint }: NonNullable<TuningGround['refusal']>): TuningSetting {
  return { setting: 'placement', value: 'nowhere', from: 'host', why: message, better: hint };
}

/** VIRTIO_QUEUE_MAX. */
const maxQueues = 1024;

/** Threads of each virtio disk, of the run or of the next start. */
function iothreads({ spec, status }: Instance, { host }: TuningGround, queues: number): TuningSetting {
  const setting = 'disk.iothreads';
  const why = 'A thread of its own for each disk, which four queues leave time to spare.';
  if (spec.machine === 'microvm')
    return { setting, value: '1', from: 'default', why: 'A microvm has one for each disk.' };
  const { version = '', features } = host.qemu ?? {};
  const ability = spreading({ version, mapsQueues: features?.['iothread-vq-mapping'] === true });
  const wanted = wantedIothreads(queues);
  const next = ability === 'yes' ? wanted : 1;
  const has = status.run === undefined ? next : (status.run.diskIothreads ?? 1);
  const value = String(has);
  if (wanted === 1) return { setting, value, from: 'default', why };
  if (has === wanted)
    return {
      setting,
      value,
      from: 'default',
      why: `One for each ${queuesPerIothread} queues of a disk, and ${maxIothreadsPerDisk} at most: one alone keeps many vCPUs waiting.`,
    };
  const each = `${wanted} for each disk`;
  const by = 'by QEMU 10.0.10 and newer of that line, or 11 and newer';
  return {
    setting,
    value,
    from: 'host',
    ...{
      yes: { why: 'Of the QEMU that it was started by.', better: `${each}, from its next start.` },
      no: { why: 'This QEMU gives a disk one thread.', better: `${each}, ${by}.` },
      unsafe: {
        why: 'This QEMU could stand still for ever when a disk of several threads comes up against a limit.',
        better: `${each}, ${by}.`,
      },
    }[ability],
  };
}

/** Only where it is asked for: it lets the guest talk to programs of the host. */
function vsock({ spec, status }: Instance, { host }: TuningGround): TuningSetting {
  const { run, vsockCid } = status;
  const has = run === undefined ? spec.vsock === true : run.vsock === true;
  const value = !has ? 'no' : vsockCid === undefined ? 'yes' : `CID ${vsockCid}`;
  if (spec.vsock !== true && !has)
    return {
      setting: 'vsock',
      value,
      from: 'default',
      why: 'It is a way from the guest to services of the host, and is there only where it is asked for.',
    };
  return {
    setting: 'vsock',
    value,
    from: 'spec',
    why: 'As asked for.',
    ...(host.vsock ? {} : { better: 'A vsock, once the module is loaded: `modprobe vhost_vsock`.' }),
    ...(host.qemu?.features['vhost-vsock'] === false
      ? { better: 'A vsock, by a QEMU that was built with `vhost-vsock-pci`.' }
      : {}),
  };
}

function devices(instance: Instance, ground: TuningGround): TuningSetting[] {
  const { spec, status } = instance;
  const { host, accelerator } = ground;
  const queues = Math.min(status.run?.cpus ?? spec.cpus, maxQueues);
  return [
    {
      setting: 'disk.aio',
      value: host.ioUring ? 'io_uring' : 'native',
      from: 'host',
      why: 'Asynchronous, and past the host’s cache.',
      ...(host.ioUring
        ? {}
        : { better: 'io_uring, which the kernel or QEMU lacks or forbids: `wirt host check`.' }),
    },
    {
      setting: 'disk.queues',
      value: String(queues),
      from: 'default',
      why: 'One for each vCPU of its start, so that none waits for another.',
    },
    iothreads(instance, ground, queues),
    ...networkSettings(instance, ground),
    vsock(instance, ground),
    {
      setting: 'clock',
      value: accelerator === 'kvm' ? 'kvm-clock' : 'HPET, ACPI timer',
      from: 'default',
      why: 'What the guest tells time by without leaving it.',
    },
  ];
}

function hostDevices({ devices: lent = [], placement }: TuningGround): TuningSetting[] {
  if ('message' in lent)
    return [{ setting: 'device', value: 'none', from: 'host', why: lent.message, better: lent.hint }];
  const nodes = placement?.nodes ?? [];
  return lent.map(({ name, what, node, pool }): TuningSetting => {
    const isFar = node !== undefined && nodes.length > 0 && !nodes.includes(node);
    const chosen = pool === undefined ? 'As asked for' : `A free function of pool ${pool}`;
    const where = isFar
      ? ', on another node than the guest'
      : nodes.length > 0 && node !== undefined
        ? ', on a node of the guest'
        : '';
    return {
      setting: `device.${name}`,
      value: node === undefined ? what : `${what}, node ${node}`,
      from: pool === undefined ? 'spec' : 'default',
      why: `${chosen}${where}.`,
      ...(isFar
        ? { better: `One on node ${nodes.join(' or ')}, which reaches the guest’s memory without a detour.` }
        : {}),
    };
  });
}

/** The reason that goes with what is chosen: of its own profile, or of one that chooses the same. */
function whyOf<K extends 'placement' | 'dedicated' | 'mergeable' | 'freePageReporting'>(
  own: Profile,
  key: K,
  value: Profile[K],
): string {
  const same = [own, ...Object.values(profiles)].find((profile: Profile) => profile[key] === value);
  return (same ?? own).why[key];
}

/** The name of the profile that is in force; of a guest that does not run, at its next start. */
export function profileName(
  instance: Pick<Instance, 'spec'> & Partial<Pick<Instance, 'status'>>,
): keyof typeof profiles {
  return tuningInForce(instance)?.profile ?? defaultProfile;
}
