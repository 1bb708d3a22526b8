/** An instance: one virtual machine. `spec` is what was asked, `status` what was observed. */
import * as z from 'zod';
import { instanceStates } from '../instance-can.ts';
import { cloudInitSchema, cloudInitShownSchema } from './cloud-init.ts';
import { cpuModelSchema } from './cpu-model.ts';
import { deviceLeaseSchema, instanceDevicesSchema } from './device.ts';
import { diskCreateSchema, diskSchema, rootDiskSchema } from './disk.ts';
import { idSchema, labelsSchema, nameSchema, pageOf, pageQuery, recordHead, timeSchema } from './fields.ts';
import {
  limitsPatchSchema,
  limitsSchema,
  limitsStatusSchema,
  nicLimitsPatchSchema,
  throttlePatchSchema,
} from './limits.ts';
import { nicCreateSchema, nicSchema } from './nic.ts';
import { placementSchema, tuningPatchSchema, tuningSchema } from './tuning.ts';

export const restartPolicySchema = z
  .enum(['never', 'on-failure', 'always'])
  .describe('What to do when the guest ends by itself; restarts back off from 1 s, doubling, to 5 min.');

const metadataDefaults = { enabled: true, tokens: 'required', hopLimit: 1 } as const;

/** The metadata service at 169.254.169.254, in EC2’s form. */
export const metadataOptionsSchema = z
  .strictObject({
    enabled: z.boolean().default(true),
    tokens: z
      .enum(['required', 'optional'])
      .default('required')
      .describe('`required`: only IMDSv2, which asks for a token first; `optional`: IMDSv1 too.'),
    hopLimit: z
      .int()
      .min(1)
      .max(64)
      .default(1)
      .describe('Hops that answers live; 1 keeps them from containers in the guest.'),
  })
  .meta({ id: 'MetadataOptions' });

export const instanceSpecSchema = z
  .strictObject({
    image: nameSchema
      .optional()
      .describe(
        'The image it was made from: booted itself, when it is a kernel, else the origin of its first disk.',
      ),
    cpus: z.int().min(1).max(4096).default(1).describe('Virtual CPUs.'),
    memoryMib: z.int().min(32).max(67_108_864).default(256).describe('Memory of the guest, in MiB.'),
    maxCpus: z
      .int()
      .min(1)
      .max(4096)
      .optional()
      .describe('Up to how many its vCPUs can be raised while it runs; by default `cpus`.'),
    maxMemoryMib: z
      .int()
      .min(32)
      .max(67_108_864)
      .optional()
      .describe('Up to what its memory can be raised while it runs; by default `memoryMib`.'),
    policy: nameSchema.optional().describe('Limits that it shares with others; its own win.'),
    limits: limitsSchema.optional().describe('Its own; they win over the policy’s.'),
    tuning: tuningSchema.optional(),
    devices: instanceDevicesSchema.optional(),
    vsock: z
      .boolean()
      .optional()
      .describe(
        'A socket to programs of the host (vsock(7)); no by default, since it is a way from the guest to services of the host.',
      ),
    machine: z.enum(['q35', 'microvm']).default('q35').describe('QEMU machine type.'),
    accelerator: z
      .enum(['auto', 'kvm', 'tcg'])
      .default('auto')
      .describe('`auto` takes KVM where it is truly usable.'),
    cpuModel: cpuModelSchema
      .optional()
      .describe(
        'QEMU CPU model, with features added or taken out (`EPYC-v1,+avx2,-svm`); without it `host` under KVM and `max` under TCG.',
      ),
    nics: z.array(nicSchema).max(8).default([]),
    firmware: z
      .enum(['bios', 'uefi'])
      .optional()
      .describe(
        'By default what the image can: BIOS where it boots by both. UEFI variables are kept per instance.',
      ),
    disks: z.array(diskSchema).max(24).default([]),
    metadata: metadataOptionsSchema.default(metadataDefaults),
    cloudInit: cloudInitShownSchema.optional().describe('What its NoCloud seed says, without the secrets.'),
    restart: restartPolicySchema.default('never'),
    autostart: z
      .boolean()
      .default(false)
      .describe('Start when wirtd runs for the first time after the host has booted.'),
    overcommit: z
      .boolean()
      .default(false)
      .describe('Start although the host has less memory free than the guest may use.'),
  })
  .meta({ id: 'InstanceSpec' });

/** What is asked for: disks may still have to be made, and cloud-init is given its secrets. */
export const instanceSpecCreateSchema = instanceSpecSchema
  .extend({
    memoryMib: instanceSpecSchema.shape.memoryMib
      .unwrap()
      .optional()
      .describe('In MiB; by default 1024 for a guest with a system of its own, and 256 for a kernel image.'),
    nics: z
      .array(nicCreateSchema)
      .max(8)
      .optional()
      .describe('By default one on the network `default`; an empty list for none.'),
    disks: z.array(diskCreateSchema).max(23).default([]),
    rootDisk: rootDiskSchema.optional().describe('How the disk is made from a disk image.'),
    cloudInit: cloudInitSchema.optional(),
  })
  .meta({ id: 'InstanceSpecCreate' });

export const instanceStateSchema = z.enum(instanceStates).meta({ id: 'InstanceState' });

export const instanceExitSchema = z
  .object({
    at: timeSchema,
    reason: z
      .enum(['guest-shutdown', 'stopped', 'killed', 'oom', 'signal', 'error', 'lost'])
      .describe(
        '`guest-shutdown`: powered off from inside; `stopped`: on request; `killed`: forced on request; `oom`: by the kernel for memory; ' +
          '`signal`: by a signal from elsewhere; `error`: QEMU failed; `lost`: gone while wirtd could not look.',
      ),
    code: z.int().optional().describe('Exit status of QEMU.'),
    signal: z.string().optional().describe('Name of the signal that ended QEMU.'),
    message: z.string().describe('One sentence; with QEMU’s own last line where there is one.'),
  })
  .meta({ id: 'InstanceExit' });

export const instanceProcessSchema = z
  .object({
    pid: z.int(),
    startTicks: z
      .int()
      .describe('Start time in clock ticks since boot (proc(5), stat field 22); with the pid, the identity.'),
    uid: z.int(),
    gid: z.int(),
  })
  .meta({ id: 'InstanceProcess' });

export const instanceStatusSchema = z
  .object({
    state: instanceStateSchema,
    since: timeSchema.describe('When the state was entered.'),
    accelerator: z.enum(['kvm', 'tcg']).optional(),
    process: instanceProcessSchema.optional(),
    agent: z.boolean().describe('Whether the guest agent answers.'),
    ready: z
      .boolean()
      .optional()
      .describe('Whether it is done with its start: the agent answers, and cloud-init has finished.'),
    notReady: z
      .string()
      .optional()
      .describe('Why it will not become ready in this run: cloud-init has failed in it.'),
    pauseReason: z
      .enum(['no-space', 'io-error'])
      .optional()
      .describe('Why QEMU paused it: `no-space` ends by itself when its pool has room.'),
    addresses: z.array(z.string()).optional().describe('IP addresses that the guest agent told.'),
    ssh: z
      .object({ host: z.string(), port: z.int() })
      .optional()
      .describe('Where the guest’s SSH port is reached from this machine.'),
    snapshot: idSchema.optional().describe('The snapshot that its disks go on from.'),
    limits: limitsStatusSchema.optional().describe('While it runs.'),
    run: z
      .object({
        cpus: z.int(),
        maxCpus: z.int(),
        memoryMib: z.int(),
        maxMemoryMib: z.int(),
        diskIothreads: z.int().optional().describe('Threads of each virtio disk, where more than one.'),
        vsock: z.boolean().optional().describe('Whether it has a vsock.'),
        mergeable: z
          .boolean()
          .optional()
          .describe('Whether its pages may be merged with equal ones of other guests.'),
        // Absent in what a wirtd has recorded that did not keep it.
        tuning: tuningSchema
          .optional()
          .describe('What it was asked to be tuned to then; a later change of `spec.tuning` waits.'),
      })
      .optional()
      .describe('What QEMU was started with, and up to what it can be raised.'),
    placement: placementSchema.optional().describe('Where it was put, while it runs.'),
    vsockCid: z
      .int()
      .optional()
      .describe('Its address on the host’s vsock; from its first start with one on, and kept.'),
    devices: z.array(deviceLeaseSchema).optional().describe('Devices of the host that it has.'),
    startedAt: timeSchema.optional(),
    restarts: z.int().describe('Automatic restarts in a row.'),
    restartAt: timeSchema.optional().describe('When the next automatic restart is due.'),
    exit: instanceExitSchema.optional().describe('How the last run ended.'),
  })
  .meta({ id: 'InstanceStatus' });

export const instanceSchema = z
  .object({ ...recordHead, spec: instanceSpecSchema, status: instanceStatusSchema })
  .meta({ id: 'Instance' });

export const instanceCreateSchema = z
  .strictObject({
    name: nameSchema.optional().describe('Made up from the image’s name when absent.'),
    project: nameSchema.default('default'),
    labels: labelsSchema.default({}),
    spec: instanceSpecCreateSchema,
    start: z.boolean().default(false).describe('Start it at once.'),
    startPaused: z.boolean().default(false).describe('With `start`: leave the processors stopped.'),
  })
  .meta({ id: 'InstanceCreate' });

export const instanceUpdateSchema = z
  .strictObject({
    name: nameSchema.optional(),
    labels: labelsSchema.optional().describe('Replaces all labels.'),
    spec: z
      .strictObject({
        restart: restartPolicySchema.optional(),
        autostart: z.boolean().optional(),
        cpus: instanceSpecSchema.shape.cpus
          .unwrap()
          .optional()
          .describe('Live, up to `maxCpus` of its start.'),
        memoryMib: instanceSpecSchema.shape.memoryMib
          .unwrap()
          .optional()
          .describe('Live, up to `maxMemoryMib` of its start.'),
        maxCpus: instanceSpecSchema.shape.maxCpus.unwrap().nullable().optional(),
        maxMemoryMib: instanceSpecSchema.shape.maxMemoryMib.unwrap().nullable().optional(),
        policy: nameSchema.nullable().optional().describe('null: none.'),
        limits: limitsPatchSchema.optional(),
        tuning: tuningPatchSchema.nullable().optional().describe('null: none of its own.'),
        vsock: instanceSpecSchema.shape.vsock.unwrap().optional().describe('From the next start on.'),
        devices: instanceDevicesSchema
          .nullable()
          .optional()
          .describe('Replaces all; null: none. From the next start on.'),
        disks: z
          .record(z.string().max(20), z.strictObject({ limits: throttlePatchSchema.nullable() }))
          .optional()
          .describe('By name of the disk.'),
        nics: z
          .record(z.string().max(15), z.strictObject({ limits: nicLimitsPatchSchema.nullable() }))
          .optional()
          .describe('By name of the card.'),
      })
      .optional(),
  })
  .meta({ id: 'InstanceUpdate' });

export const instanceStartSchema = z
  .strictObject({ paused: z.boolean().default(false).describe('Leave the processors stopped.') })
  .meta({ id: 'InstanceStart' });

export const instanceStopSchema = z
  .strictObject({
    mode: z
      .enum(['graceful', 'acpi', 'force'])
      .default('graceful')
      .describe(
        '`graceful`: ACPI power button, by force after the grace period; `acpi`: never by force; `force`: at once.',
      ),
    graceSeconds: z.int().min(0).max(3600).default(30),
  })
  .meta({ id: 'InstanceStop' });

export const instanceListQuery = z.strictObject({
  ...pageQuery,
  project: nameSchema.default('default'),
  state: instanceStateSchema.optional(),
  image: nameSchema.optional(),
  name: z.string().max(63).optional().describe('Only names that begin with this.'),
  label: z.string().max(320).optional().describe('`key` or `key=value`.'),
});

export const instancePageSchema = pageOf(instanceSchema, 'InstancePage');

export type Instance = z.infer<typeof instanceSchema>;
export type InstanceSpec = z.infer<typeof instanceSpecSchema>;
export type InstanceSpecCreate = z.infer<typeof instanceSpecCreateSchema>;
export type MetadataOptions = z.infer<typeof metadataOptionsSchema>;
export type InstanceStatus = z.infer<typeof instanceStatusSchema>;
export type InstanceExit = z.infer<typeof instanceExitSchema>;
export type InstanceProcess = z.infer<typeof instanceProcessSchema>;
export type InstanceCreate = z.infer<typeof instanceCreateSchema>;
export type InstanceUpdate = z.infer<typeof instanceUpdateSchema>;
export type InstanceStart = z.infer<typeof instanceStartSchema>;
export type InstanceStop = z.infer<typeof instanceStopSchema>;
export type InstanceListQuery = z.infer<typeof instanceListQuery>;
