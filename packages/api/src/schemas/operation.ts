/** An operation: work that takes longer than a moment. It survives a restart of the daemon and says how. */
import { z } from 'zod';
import { problemSchema } from '../problem.ts';
import { idSchema, nameSchema, pageOf, pageQuery, timeSchema } from './fields.ts';

export const operationKinds = [
  'instance.create',
  'instance.start',
  'instance.stop',
  'instance.restart',
  'instance.remove',
  'image.build',
] as const;

export const operationSchema = z
  .object({
    id: idSchema,
    kind: z.enum(operationKinds),
    project: nameSchema,
    target: z.object({ kind: z.enum(['instance', 'image']), id: idSchema, name: nameSchema }),
    state: z.enum(['queued', 'running', 'done', 'failed', 'cancelled']),
    stage: z.string().describe('What it is doing, or was doing last.'),
    progress: z.object({ done: z.number(), total: z.number(), unit: z.enum(['bytes', 'steps']) }).optional(),
    cancellable: z.boolean(),
    requestedBy: z.string().describe('The caller: `socket`, or the internal job.'),
    recovery: z
      .enum(['finished', 'resumed', 'undone'])
      .optional()
      .describe('What became of it when the daemon restarted in its middle.'),
    error: problemSchema.optional(),
    input: z.record(z.string(), z.unknown()).describe('What was asked beside the target.'),
    createdAt: timeSchema,
    finishedAt: timeSchema.optional(),
    revision: z.int().min(0),
  })
  .meta({ id: 'Operation' });

export const operationListQuery = z.strictObject({
  ...pageQuery,
  state: operationSchema.shape.state.optional(),
  target: z.string().max(63).optional().describe('Name or id of the target.'),
});

export const operationPageSchema = pageOf(operationSchema, 'OperationPage');

/** What a POST that starts an operation takes in its query. */
export const waitQuery = z.strictObject({
  wait: z
    .enum(['none', 'done', 'ready'])
    .default('none')
    .describe(
      '`none`: answer at once; `done`: when the operation has ended; `ready`: and, for a started guest, its agent answers.',
    ),
  waitSeconds: z.coerce.number().int().min(1).max(3600).default(120),
});

export type Operation = z.infer<typeof operationSchema>;
export type OperationKind = (typeof operationKinds)[number];
export type OperationState = Operation['state'];
export type OperationListQuery = z.infer<typeof operationListQuery>;
export type WaitQuery = z.infer<typeof waitQuery>;
