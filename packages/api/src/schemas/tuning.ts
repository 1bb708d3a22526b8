/**
 * How an instance is fitted to the hardware: pages, places and processors of the host, and what its own processors look like. What is absent
 * comes from its profile; what it got, and why, is in `GET /v1/instances/{instance}/tuning`.
 */
import * as z from 'zod';
import { nameSchema } from './fields.ts';

/** As the kernel writes lists of processors (Documentation/admin-guide/cputopology.rst): `0-3,8`. */
export const cpuListSchema = z
  .string()
  .max(1024)
  .regex(/^\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*$/, 'must be processors of the host, such as 0-3,8')
  .describe('Processors of the host, such as `0-3,8`.');

export const tuningProfiles = ['balanced', 'latency', 'density'] as const;

export const cpuTopologySchema = z
  .strictObject({
    sockets: z.int().min(1).max(4096),
    cores: z.int().min(1).max(4096).describe('In each socket.'),
    threads: z.int().min(1).max(16).describe('Of each core.'),
  })
  .meta({ id: 'CpuTopology' });

const fields = {
  profile: z
    .enum(tuningProfiles)
    .optional()
    .describe(
      '`balanced`, the default: fast for all alike; `latency`: answers soonest, on processors and pages of its own; `density`: many guests on a host.',
    ),
  hugePages: z
    .enum(['none', '2M', '1G'])
    .optional()
    .describe('Size of the pages that its memory is made of; taken from the host’s pool when it starts.'),
  placement: z
    .enum(['none', 'auto'])
    .optional()
    .describe('`auto`: on the fewest NUMA nodes that hold it; `none`: wherever the kernel likes.'),
  dedicated: z
    .boolean()
    .optional()
    .describe('Each vCPU has a processor of the host of its own, and no other guest runs there.'),
  vcpuPins: z
    .record(z.string().regex(/^\d{1,4}$/), cpuListSchema)
    .optional()
    .describe('Where single vCPUs run, by their number from 0.'),
  emulatorPin: cpuListSchema.optional().describe('Where QEMU’s own threads run.'),
  iothreadPin: cpuListSchema.optional().describe('Where the threads of its disks run.'),
  topology: cpuTopologySchema
    .optional()
    .describe('What the guest takes its vCPUs for; the product is `maxCpus`. By default as it is placed.'),
} as const;

export const tuningSchema = z.strictObject(fields).meta({ id: 'Tuning' });

export const tuningPatchSchema = z
  .strictObject({
    profile: fields.profile.unwrap().nullable().optional(),
    hugePages: fields.hugePages.unwrap().nullable().optional(),
    placement: fields.placement.unwrap().nullable().optional(),
    dedicated: fields.dedicated.unwrap().nullable().optional(),
    vcpuPins: fields.vcpuPins.unwrap().nullable().optional(),
    emulatorPin: cpuListSchema.nullable().optional(),
    iothreadPin: cpuListSchema.nullable().optional(),
    topology: cpuTopologySchema.nullable().optional(),
  })
  .describe('null takes out what it had; what is absent stays. In force from the next start.')
  .meta({ id: 'TuningPatch' });

/** Where a running guest was put. */
export const placementSchema = z
  .object({
    nodes: z.array(z.int()).describe('NUMA nodes of the host; none: wherever the kernel likes.'),
    pageSizeKib: z.int().optional().describe('Of the huge pages that it has.'),
    reserved: z
      .array(z.object({ node: z.int(), sizeKib: z.int(), count: z.int() }))
      .optional()
      .describe('Huge pages that the host was made to have for it, and gives back when it ends.'),
    dedicated: z.string().optional().describe('Processors that no other guest has, such as `0-3`.'),
    groupCpus: z.string().optional().describe('Processors of the guest as a whole.'),
    vcpuPins: z.record(z.string(), z.string()),
    emulatorPin: z.string().optional(),
    iothreadPin: z.string().optional(),
    userPins: z
      .object({
        vcpus: z.record(z.string(), z.string()).optional(),
        emulator: z.string().optional(),
        iothreads: z.string().optional(),
      })
      .optional()
      .describe('Pins that the instance itself named when it was started.'),
    topology: cpuTopologySchema,
    guestNodes: z.array(
      z.object({
        memoryMib: z.int(),
        vcpus: z.string(),
        hostNode: z.int().optional().describe('That its memory is bound to.'),
        cpuNodes: z.array(z.int()).describe('On whose processors its vCPUs run.'),
        distances: z.array(z.int()),
      }),
    ),
    reasons: z.array(z.string()),
  })
  .meta({ id: 'Placement' });

export const tuningSettingSchema = z
  .object({
    setting: z.string().describe('Its name, as `wirt set` takes it where it can be set.'),
    value: z.string().describe('What the guest has, or would have at its next start.'),
    from: z
      .enum(['spec', 'profile', 'host', 'default'])
      .describe(
        'Who chose it: the instance’s own spec, its profile, what the host can, or Wirt for all guests.',
      ),
    why: z.string(),
    better: z.string().optional().describe('What it would have on a host with more, and what that takes.'),
  })
  .meta({ id: 'TuningSetting' });

export const instanceTuningSchema = z
  .object({
    instance: nameSchema,
    running: z.boolean().describe('Whether the values are of a guest that runs, or of its next start.'),
    profile: z.enum(tuningProfiles),
    settings: z.array(tuningSettingSchema),
  })
  .meta({ id: 'InstanceTuning' });

export type Tuning = z.infer<typeof tuningSchema>;
export type TuningPatch = z.infer<typeof tuningPatchSchema>;
export type TuningProfile = (typeof tuningProfiles)[number];
export type CpuTopology = z.infer<typeof cpuTopologySchema>;
export type InstancePlacement = z.infer<typeof placementSchema>;
export type TuningSetting = z.infer<typeof tuningSettingSchema>;
export type InstanceTuning = z.infer<typeof instanceTuningSchema>;
