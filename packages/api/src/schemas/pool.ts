/** A pool: where volumes lie. `status` is read from the storage at every look, never stored. */
import * as z from 'zod';
import { nameSchema, pageOf, pageQuery, recordHead } from './fields.ts';

const absolutePath = z
  .string()
  .max(1024)
  .regex(/^\/[^\0]*$/, 'must be an absolute path');

export const poolSpecSchema = z
  .strictObject({
    driver: z.literal('dir').default('dir').describe('`dir`: files in a directory.'),
    path: absolutePath.describe('The directory; made when absent, and owned by one wirtd alone.'),
    reservePercent: z
      .number()
      .min(0)
      .max(90)
      .default(5)
      .describe('Share of the storage that stays free: nothing new is begun below it.'),
  })
  .meta({ id: 'PoolSpec' });

export const poolStatusSchema = z
  .object({
    state: z.enum(['ready', 'unusable']),
    message: z.string().optional().describe('Why it is unusable.'),
    capacityBytes: z.int().optional(),
    availableBytes: z.int().optional().describe('Free now, the reserve included.'),
    reserveBytes: z.int().optional(),
    allocatedBytes: z.int().optional().describe('What the volumes take now.'),
    provisionedBytes: z.int().describe('What the volumes may grow to.'),
    overcommit: z.number().optional().describe('`provisionedBytes` by `capacityBytes`.'),
    volumes: z.int(),
  })
  .meta({ id: 'PoolStatus' });

export const poolSchema = z
  .object({ ...recordHead, spec: poolSpecSchema, status: poolStatusSchema })
  .meta({ id: 'Pool' });

export const poolCreateSchema = z
  .strictObject({ name: nameSchema, spec: poolSpecSchema })
  .meta({ id: 'PoolCreate' });

export const poolListQuery = z.strictObject(pageQuery);
export const poolPageSchema = pageOf(poolSchema, 'PoolPage');

export type Pool = z.infer<typeof poolSchema>;
export type PoolSpec = z.infer<typeof poolSpecSchema>;
export type PoolStatus = z.infer<typeof poolStatusSchema>;
export type PoolCreate = z.infer<typeof poolCreateSchema>;
