/** What instances use of their host: sampled every 5 s in one pass for all, kept for an hour, and as means of 5 min for a month. */
import * as z from 'zod';
import { idSchema, nameSchema, timeSchema } from './fields.ts';

const perSecond = z.number().min(0);
const counter = z.int().min(0);

/** Shares are of time: 0 to 1. Pressure is the share of the last 10 s in which somebody waited (PSI `some`). */
const share = z.number().min(0);

export const diskUsageSchema = z
  .object({
    name: z.string(),
    readBytes: counter.describe('Since QEMU was started, as the three below.'),
    writtenBytes: counter,
    reads: counter,
    writes: counter,
    readBytesPerSecond: perSecond,
    writtenBytesPerSecond: perSecond,
    readsPerSecond: perSecond,
    writesPerSecond: perSecond,
  })
  .meta({ id: 'DiskUsage' });

export const nicUsageSchema = z
  .object({
    name: z.string(),
    ingressBytes: counter.describe('Towards the guest, since it was plugged in, as the five below.'),
    egressBytes: counter,
    ingressPackets: counter,
    egressPackets: counter,
    ingressDropped: counter.describe('For want of room or rate.'),
    egressDropped: counter,
    ingressBytesPerSecond: perSecond,
    egressBytesPerSecond: perSecond,
    ingressPacketsPerSecond: perSecond,
    egressPacketsPerSecond: perSecond,
  })
  .meta({ id: 'NicUsage' });

export const usageSchema = z
  .object({
    instance: idSchema,
    name: nameSchema,
    at: timeSchema,
    cpu: z.object({
      seconds: z.number().describe('Processor time used, by QEMU’s own threads too; a counter.'),
      cores: perSecond.describe('Processor time used for each second since the sample before.'),
      limitCores: z.number().optional(),
      throttledSeconds: z.number().describe('Time its threads were held back by the limit; a counter.'),
      throttled: share.describe('Share of periods since the sample before in which it was held back.'),
      stealSeconds: z.number().describe('Time its vCPUs were ready and waited for a processor; a counter.'),
      steal: perSecond.describe('vCPUs that waited for a processor, on the mean since the sample before.'),
      pressure: share.optional().describe('Absent where the kernel does not tell it for a group.'),
      vcpus: z.array(z.object({ cores: perSecond, steal: perSecond })),
    }),
    memory: z.object({
      usedMib: z.number().describe('Of the host, by the guest and its QEMU.'),
      swappedMib: z.number().optional(),
      ceilingMib: z.int().optional(),
      guestMib: z.int().optional().describe('What the guest has, without what the balloon holds.'),
      pressure: share.optional(),
    }),
    io: z.object({ pressure: share.optional() }),
    disks: z.array(diskUsageSchema),
    nics: z.array(nicUsageSchema),
    stale: z
      .boolean()
      .optional()
      .describe('Its QEMU did not answer: what only that knows (disks) is of an earlier sample.'),
  })
  .meta({ id: 'Usage' });

export const usageListSchema = z
  .object({ at: timeSchema.describe('Of the pass; `after` for the next.'), items: z.array(usageSchema) })
  .meta({ id: 'UsageList' });

export const usageListQuery = z.strictObject({
  project: nameSchema.default('default'),
  after: timeSchema.optional().describe('Waits, up to 30 s, for a pass later than this one.'),
});

/** Means over the step; null where there was no sample. */
export const usagePointSchema = z
  .object({
    at: timeSchema.describe('The end of the step.'),
    cpuCores: z.number(),
    cpuThrottled: z.number(),
    cpuSteal: z.number(),
    cpuPressure: z.number(),
    memoryUsedMib: z.number(),
    memoryPressure: z.number(),
    ioPressure: z.number(),
    diskReadBytesPerSecond: z.number(),
    diskWrittenBytesPerSecond: z.number(),
    diskReadsPerSecond: z.number(),
    diskWritesPerSecond: z.number(),
    ingressBytesPerSecond: z.number(),
    egressBytesPerSecond: z.number(),
    ingressPacketsPerSecond: z.number(),
    egressPacketsPerSecond: z.number(),
  })
  .meta({ id: 'UsagePoint' });

export const usageHistorySchema = z
  .object({
    resolutionSeconds: z.int(),
    points: z.array(usagePointSchema).describe('Oldest first; steps without a sample are left out.'),
  })
  .meta({ id: 'UsageHistory' });

export const usageHistoryQuery = z.strictObject({
  from: timeSchema.optional().describe('By default an hour before `to`.'),
  to: timeSchema.optional().describe('By default now.'),
  resolutionSeconds: z.coerce
    .number()
    .int()
    .min(5)
    .max(86_400)
    .optional()
    .describe('A multiple of 5; by default the finest that gives 720 points at most.'),
});

export type Usage = z.infer<typeof usageSchema>;
export type DiskUsage = z.infer<typeof diskUsageSchema>;
export type NicUsage = z.infer<typeof nicUsageSchema>;
export type UsageList = z.infer<typeof usageListSchema>;
export type UsageListQuery = z.infer<typeof usageListQuery>;
export type UsagePoint = z.infer<typeof usagePointSchema>;
export type UsageHistory = z.infer<typeof usageHistorySchema>;
export type UsageHistoryQuery = z.infer<typeof usageHistoryQuery>;
