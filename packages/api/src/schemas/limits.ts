/**
 * Quality of service of an instance: what it may take of processor, memory, disks and network. A field that is absent is inherited from the
 * policy; 0 is no limit, also where the policy has one. What is in force is read back from where it acts, and shown in the status.
 */
import * as z from 'zod';

const perSecond = (what: string) =>
  z
    .strictObject({
      rate: z
        .int()
        .min(0)
        .max(Number.MAX_SAFE_INTEGER)
        .describe(`${what} a second, on the long run; 0: no limit.`),
      burst: z
        .int()
        .min(1)
        .max(Number.MAX_SAFE_INTEGER)
        .optional()
        .describe(`${what} a second while a burst lasts; at least the rate.`),
      burstSeconds: z
        .int()
        .min(1)
        .max(86_400)
        .optional()
        .describe('How long a burst at its full rate may last; by default 1 s. Needs `burst`.'),
    })
    .refine(({ rate, burst }) => burst === undefined || (rate > 0 && burst >= rate), {
      message: 'a burst needs a rate, and is not below it',
      path: ['burst'],
    })
    .refine(({ burst, burstSeconds }) => burstSeconds === undefined || burst !== undefined, {
      message: 'burstSeconds needs burst',
      path: ['burstSeconds'],
    });

const byteRate = perSecond('Bytes').meta({ id: 'ByteRate' });
const operationRate = perSecond('Operations').meta({ id: 'OperationRate' });

const cpu = {
  cores: z
    .number()
    .min(0)
    .max(4096)
    .optional()
    .describe(
      'Processor time of the guest and of the emulator’s own threads together, in cores; 0: no limit.',
    ),
  weight: z
    .int()
    .min(0)
    .max(10_000)
    .optional()
    .describe('Share of a full host beside other guests; 100 is what has no weight, and what 0 gives back.'),
  burstMs: z
    .number()
    .min(0)
    .max(409_600)
    .optional()
    .describe('Processor time that is saved while it is not used, and may be taken above `cores` later.'),
};

const memory = {
  ceilingMib: z
    .union([z.literal('auto'), z.int().min(0).max(68_000_000)])
    .optional()
    .describe(
      'Memory of the host that the guest and its QEMU may use together; `auto`: what the guest may have and what its QEMU needs. 0: no limit.',
    ),
  reservationMib: z
    .int()
    .min(0)
    .max(67_108_864)
    .optional()
    .describe('Memory that is taken from it last when the host is short.'),
  swapMib: z
    .int()
    .min(0)
    .max(67_108_864)
    .optional()
    .describe('How much of it may be swapped out; needs a ceiling. Absent: as the host does it.'),
  balloonMib: z
    .int()
    .min(0)
    .max(67_108_864)
    .optional()
    .describe('What is left to the guest while the balloon takes the rest; 0: all it has.'),
  freePageReporting: z
    .boolean()
    .optional()
    .describe('Whether the guest tells of pages that it does not use, which the host then gets back.'),
};

/** QEMU’s throttle groups: a total excludes read and write of the same kind. */
const throttle = {
  readBytes: byteRate.optional(),
  writeBytes: byteRate.optional(),
  totalBytes: byteRate.optional(),
  readOperations: operationRate.optional(),
  writeOperations: operationRate.optional(),
  totalOperations: operationRate.optional(),
};

const disk = {
  ...throttle,
  weight: z
    .int()
    .min(0)
    .max(10_000)
    .optional()
    .describe(
      'Share of a busy disk of the host beside other guests; 100 is what has no weight, and what 0 gives back.',
    ),
};

const direction = {
  bytesPerSecond: z.int().min(0).max(1_000_000_000_000).optional().describe('0: no limit.'),
  burstBytes: z
    .int()
    .min(0)
    .max(4_000_000_000)
    .optional()
    .describe('What may pass at once after a pause; by default what passes in 50 ms, and 64 KiB at least.'),
  packetsPerSecond: z
    .int()
    .min(0)
    .max(1_000_000_000)
    .optional()
    .describe('Those above are dropped; 0: no limit.'),
};

const ingress = 'Towards the guest.';
const egress = 'From the guest.';
const allDisks = 'All disks together.';
const eachDisk = 'Each disk; what it has of its own wins.';
const eachNic = 'Each network card; what it has of its own wins.';

export const throttleSchema = z.strictObject(throttle).meta({ id: 'Throttle' });

const directionSchema = z.strictObject(direction).meta({ id: 'DirectionLimits' });
export const nicLimitsSchema = z
  .strictObject({
    ingress: directionSchema.optional().describe(ingress),
    egress: directionSchema.optional().describe(egress),
  })
  .meta({ id: 'NicLimits' });

export const limitsSchema = z
  .strictObject({
    cpu: z.strictObject(cpu).meta({ id: 'CpuLimits' }).optional(),
    memory: z.strictObject(memory).meta({ id: 'MemoryLimits' }).optional(),
    disk: z.strictObject(disk).meta({ id: 'DiskLimits' }).optional().describe(allDisks),
    eachDisk: throttleSchema.optional().describe(eachDisk),
    eachNic: nicLimitsSchema.optional().describe(eachNic),
  })
  .meta({ id: 'Limits' });

type Nullable<S extends z.ZodRawShape> = { [K in keyof S]: z.ZodOptional<z.ZodNullable<S[K]>> };

/** The same fields, each of which may be null: what is null is taken out, what is absent stays (RFC 7396). */
function patchOf<S extends z.ZodRawShape>(shape: S) {
  const fields = Object.entries(shape).map(([name, field]) => [
    name,
    z.optional(z.nullable(field as z.ZodType)),
  ]);
  // The entries of `shape`, each wrapped: what the type says.
  return z.strictObject(Object.fromEntries(fields) as Nullable<S>);
}

export const throttlePatchSchema = patchOf(throttle).meta({ id: 'ThrottlePatch' });

const directionPatch = patchOf(direction).meta({ id: 'DirectionLimitsPatch' });
export const nicLimitsPatchSchema = z
  .strictObject({
    ingress: directionPatch.nullable().optional().describe(ingress),
    egress: directionPatch.nullable().optional().describe(egress),
  })
  .meta({ id: 'NicLimitsPatch' });

/** Null, at whatever depth, takes a value out: it is inherited from the policy again, or there is none. */
export const limitsPatchSchema = z
  .strictObject({
    cpu: patchOf(cpu).meta({ id: 'CpuLimitsPatch' }).nullable().optional(),
    memory: patchOf(memory).meta({ id: 'MemoryLimitsPatch' }).nullable().optional(),
    disk: patchOf(disk).meta({ id: 'DiskLimitsPatch' }).nullable().optional().describe(allDisks),
    eachDisk: throttlePatchSchema.nullable().optional().describe(eachDisk),
    eachNic: nicLimitsPatchSchema.nullable().optional().describe(eachNic),
  })
  .meta({ id: 'LimitsPatch' });

/** What is in force, read back from where it acts: control groups, QEMU, tc and nftables. What is absent has no limit. */
export const effectiveLimitsSchema = z
  .object({
    cpus: z.int().optional().describe('Virtual CPUs that the guest has now.'),
    memoryMib: z.int().optional().describe('Memory that the guest has now, without what the balloon holds.'),
    cpu: z
      .object({
        cores: z.number().optional(),
        weight: z.int().optional(),
        burstMs: z.number().optional(),
      })
      .optional(),
    memory: z
      .object({
        ceilingMib: z.int().optional(),
        overheadMib: z.int().optional().describe('QEMU’s own share of the ceiling, as it is counted on.'),
        reservationMib: z.int().optional(),
        swapMib: z.int().optional(),
        balloonMib: z.int().optional(),
        freePageReporting: z.boolean().optional(),
      })
      .optional(),
    disk: z.object({ ...throttle, weight: z.int().optional() }).optional(),
    disks: z.record(z.string(), throttleSchema).optional().describe('By name of the disk.'),
    nics: z.record(z.string(), nicLimitsSchema).optional().describe('By name of the card.'),
  })
  .meta({ id: 'EffectiveLimits' });

/** A value that is not in force, and why. */
export const limitGapSchema = z
  .object({
    key: z.string().describe('As `wirt set` takes it: `cpu.cores`, `disk.vda.readBytes`.'),
    wanted: z.string(),
    found: z.string().optional(),
    why: z.string(),
  })
  .meta({ id: 'LimitGap' });

export const limitsStatusSchema = z
  .object({
    effective: effectiveLimitsSchema,
    drifted: z
      .array(limitGapSchema)
      .optional()
      .describe('What was changed by somebody else, or cannot be had now; Wirt goes on trying.'),
    pending: z
      .array(limitGapSchema)
      .optional()
      .describe('What a running guest cannot take: in force from its next start on.'),
    repairedAt: z.iso
      .datetime()
      .optional()
      .describe('When something that somebody else had changed was mended last.'),
  })
  .meta({ id: 'LimitsStatus' });

export type Limits = z.infer<typeof limitsSchema>;
export type LimitsPatch = z.infer<typeof limitsPatchSchema>;
export type Throttle = z.infer<typeof throttleSchema>;
export type ThrottlePatch = z.infer<typeof throttlePatchSchema>;
export type Rate = NonNullable<Throttle['readBytes']>;
export type NicLimits = z.infer<typeof nicLimitsSchema>;
export type NicLimitsPatch = z.infer<typeof nicLimitsPatchSchema>;
export type DirectionLimits = NonNullable<NicLimits['ingress']>;
export type EffectiveLimits = z.infer<typeof effectiveLimitsSchema>;
export type LimitGap = z.infer<typeof limitGapSchema>;
export type LimitsStatus = z.infer<typeof limitsStatusSchema>;
