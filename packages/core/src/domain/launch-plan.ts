/** The planner: spec, image, disks and accelerator → launch plan. Pure; all that QEMU is told is decided here or is constant. */
import type { Image, Instance } from '@wirt/api';
import {
  type Accelerator,
  type LaunchPlan,
  memoryMibOf,
  type PlannedDevice,
  type PlannedDisk,
  type PlannedNic,
  type PlannedPlacement,
} from './guest.ts';
import { ec2Uuid, ulidBytes, uuidOf } from './identity.ts';

/** CPU model by accelerator where none was chosen: all that the host has, or all that TCG can do. */
const defaultCpuModel = { kvm: 'host', tcg: 'max' } as const satisfies Record<Accelerator, string>;

/** QEMU's own memory beside the guest's: measured 50–70 MiB resident for a guest of this shape, rounded up. */
export const qemuOverheadMib = 80;

/** A port that no other program has by default, on a loopback address of the guest's own. */
export const loopbackSshPort = 20_022;

/**
 * 127.x.y.z for a guest: from its uid, which no other guest on the machine has, or from its id where all run as one user. Never
 * the network's own address or 127.0.0.1.
 */
export function loopbackOf(id: string, identity: { readonly uid: number; readonly own: boolean }): string {
  const bytes = ulidBytes(id).subarray(13);
  const number = identity.own
    ? identity.uid & 0xffffff
    : ((bytes[0] ?? 0) << 16) | ((bytes[1] ?? 0) << 8) | (bytes[2] ?? 0);
  const safe = Math.min(Math.max(number, 2), 0xfffffe);
  return `127.${safe >> 16}.${(safe >> 8) & 0xff}.${safe & 0xff}`;
}

/** What a plan is made from beside the record. */
export interface PlanParts {
  readonly image: Image | undefined;
  readonly accelerator: Accelerator;
  readonly nics: readonly PlannedNic[];
  readonly disks: readonly PlannedDisk[];
  readonly devices?: readonly PlannedDevice[];
  readonly firmware: LaunchPlan['firmware'];
  readonly freePageReporting: boolean;
  readonly diskIothreads?: number;
  readonly placement: PlannedPlacement | undefined;
  readonly mergeable: boolean;
  /** Absolute path of a file of the image. */
  pathOf(file: string): string;
}

/**
 * The layer that the first disk writes: a new one after every return to a snapshot and in every copy, the same from one start to the
 * next. A system that keeps count of its own writes (Active Directory) tells by it that it was turned back.
 */
function generationOf(id: string, disks: readonly PlannedDisk[]): string {
  const first = disks.find(({ device, readOnly }) => device === 'disk' && !readOnly);
  return uuidOf(first?.source?.layers.at(-1)?.layer ?? id);
}

export function planLaunch(instance: Instance, parts: PlanParts): LaunchPlan {
  const { id, spec } = instance;
  const { image, accelerator } = parts;
  // By a UUID and a serial number that begin with `ec2` and are equal cloud-init's datasource Ec2 knows where it is.
  const asEc2 = spec.cloudInit?.datasource === 'metadata';
  const uuid = asEc2 ? ec2Uuid(uuidOf(id)) : uuidOf(id);
  const { placement } = parts;
  // In whole pages, where they are huge.
  const memoryMib = placement === undefined ? spec.memoryMib : memoryMibOf(placement.nodes);
  const kernel = image?.spec.format === 'kernel' ? image.status : undefined;
  return {
    id,
    uuid,
    ...(asEc2 ? { serial: uuid } : {}),
    generation: generationOf(id, parts.disks),
    machine: spec.machine,
    accelerator,
    cpuModel: spec.cpuModel ?? defaultCpuModel[accelerator],
    cpus: spec.cpus,
    maxCpus: Math.max(spec.cpus, spec.maxCpus ?? 0),
    memoryMib,
    maxMemoryMib: Math.max(memoryMib, spec.maxMemoryMib ?? 0),
    freePageReporting: parts.freePageReporting,
    ...(placement === undefined ? {} : { placement }),
    ...(parts.mergeable ? { mergeable: true } : {}),
    ...(parts.diskIothreads === undefined ? {} : { diskIothreads: parts.diskIothreads }),
    nics: parts.nics,
    disks: parts.disks,
    ...(parts.devices === undefined || parts.devices.length === 0 ? {} : { devices: parts.devices }),
    firmware: parts.firmware,
    ...(kernel === undefined
      ? {}
      : {
          kernel: {
            kernel: parts.pathOf(kernel.kernel ?? ''),
            initrd: parts.pathOf(kernel.initrd ?? ''),
            kernelArgs: kernel.kernelArgs ?? '',
          },
        }),
  };
}
