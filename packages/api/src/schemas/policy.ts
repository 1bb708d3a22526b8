/** A policy: limits that several instances share. Changing it changes them; what an instance says itself wins. */
import * as z from 'zod';
import { labelsSchema, nameSchema, pageOf, pageQuery, recordHead } from './fields.ts';
import { limitsPatchSchema, limitsSchema } from './limits.ts';

const description = z.string().max(255);

export const policySchema = z
  .object({
    ...recordHead,
    spec: z.object({ description, limits: limitsSchema }),
    status: z.object({ instances: z.array(nameSchema).describe('Instances that have it.') }),
  })
  .meta({ id: 'Policy' });

export const policyCreateSchema = z
  .strictObject({
    name: nameSchema,
    project: nameSchema.default('default'),
    labels: labelsSchema.default({}),
    description: description.default(''),
    limits: limitsSchema.default({}),
  })
  .meta({ id: 'PolicyCreate' });

export const policyUpdateSchema = z
  .strictObject({
    description: description.optional(),
    labels: labelsSchema.optional().describe('Replaces all labels.'),
    limits: limitsPatchSchema.optional(),
  })
  .meta({ id: 'PolicyUpdate' });

export const policyListQuery = z.strictObject({ ...pageQuery, project: nameSchema.default('default') });
export const policyPageSchema = pageOf(policySchema, 'PolicyPage');

export type Policy = z.infer<typeof policySchema>;
export type PolicyCreate = z.infer<typeof policyCreateSchema>;
export type PolicyUpdate = z.infer<typeof policyUpdateSchema>;
export type PolicyListQuery = z.infer<typeof policyListQuery>;
