/** Events: every change of a record, in the order of store revisions. */
import * as z from 'zod';
import { idSchema, nameSchema, timeSchema } from './fields.ts';

export const eventSchema = z
  .object({
    revision: z
      .int()
      .describe('The store revision of the change; pass the last one seen as `since` to go on.'),
    at: timeSchema,
    change: z.enum(['created', 'changed', 'removed']),
    kind: z.enum([
      'instance',
      'image',
      'volume',
      'pool',
      'snapshot',
      'network',
      'security-group',
      'policy',
      'device-pool',
      'operation',
    ]),
    id: idSchema,
    name: nameSchema.describe('Name of the resource; of the target, for an operation.'),
    project: nameSchema,
    state: z.string().optional().describe('State after the change.'),
    detail: z
      .string()
      .optional()
      .describe('One sentence: how a guest ended, the stage or failure of an operation.'),
  })
  .meta({ id: 'Event' });

export const eventQuery = z.strictObject({
  since: z.coerce
    .number()
    .int()
    .min(0)
    .optional()
    .describe('Only changes after this revision; without it, from now on.'),
  kind: eventSchema.shape.kind.optional(),
  id: idSchema.optional().describe('Only events of this resource.'),
});

export type Event = z.infer<typeof eventSchema>;
export type EventQuery = z.infer<typeof eventQuery>;
