/** A snapshot: all disks of an instance as they were at one moment. Snapshots of an instance form a tree. */
import * as z from 'zod';
import { idSchema, labelsSchema, nameSchema, pageOf, pageQuery, recordHead } from './fields.ts';

export const snapshotSpecSchema = z
  .object({
    instance: idSchema,
    description: z.string().max(1000).optional(),
  })
  .meta({ id: 'SnapshotSpec' });

export const snapshotStatusSchema = z
  .object({
    state: z.enum(['creating', 'ready', 'removing']),
    parent: idSchema.optional().describe('The snapshot that the instance was on when this one was taken.'),
    consistency: z
      .enum(['stopped', 'frozen', 'crash'])
      .optional()
      .describe(
        '`stopped`: nothing ran; `frozen`: file systems were frozen through the guest agent; `crash`: as after a power cut.',
      ),
    consistencyReason: z.string().optional().describe('Why the guest was not frozen.'),
    disks: z.array(z.object({ disk: nameSchema, volume: idSchema, layer: idSchema })),
    firmwareVariables: z.boolean().optional().describe('Whether the UEFI variables were saved with it.'),
  })
  .meta({ id: 'SnapshotStatus' });

export const snapshotSchema = z
  .object({ ...recordHead, spec: snapshotSpecSchema, status: snapshotStatusSchema })
  .meta({ id: 'Snapshot' });

export const snapshotCreateSchema = z
  .strictObject({
    name: nameSchema.optional().describe('Made up from the time when absent.'),
    labels: labelsSchema.default({}),
    description: z.string().max(1000).optional(),
    freeze: z
      .enum(['auto', 'required', 'none'])
      .default('auto')
      .describe(
        '`auto`: freeze when the guest agent answers, and say so when it does not; `required`: fail then.',
      ),
  })
  .meta({ id: 'SnapshotCreate' });

export const snapshotListQuery = z.strictObject(pageQuery);
export const snapshotPageSchema = pageOf(snapshotSchema, 'SnapshotPage');

export type Snapshot = z.infer<typeof snapshotSchema>;
export type SnapshotCreate = z.infer<typeof snapshotCreateSchema>;
