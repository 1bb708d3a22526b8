/** An operation: work that takes longer than a moment. It survives a restart of the daemon and says how. */
import * as z from 'zod';
import { problemSchema } from '../problem.ts';
import { idSchema, nameSchema, pageOf, pageQuery, timeSchema } from './fields.ts';

export const operationKinds = [
  'instance.create',
  'instance.start',
  'instance.stop',
  'instance.restart',
  'instance.remove',
  'instance.attach',
  'instance.detach',
  'instance.medium',
  'instance.attach-nic',
  'instance.update-nic',
  'instance.detach-nic',
  'instance.import',
  'instance.export',
  'image.build',
  'image.import',
  'image.pull',
  'image.export',
  'volume.create',
  'volume.resize',
  'volume.flatten',
  'volume.remove',
  'volume.export',
  'snapshot.create',
  'snapshot.restore',
  'snapshot.remove',
  'snapshot.export',
] as const;

export const operationSchema = z
  .object({
    id: idSchema,
    kind: z.enum(operationKinds),
    project: nameSchema,
    target: z.object({
      kind: z.enum(['instance', 'image', 'volume', 'snapshot']),
      id: idSchema,
      name: nameSchema,
    }),
    state: z.enum(['queued', 'running', 'done', 'failed', 'cancelled']),
    stage: z.string().describe('What it is doing, or was doing last.'),
    progress: z
      .object({
        done: z.number(),
        total: z.number(),
        unit: z.enum(['bytes', 'steps']),
        perSecond: z.number().optional().describe('Rate over the last seconds.'),
      })
      .optional(),
    cancellable: z.boolean(),
    requestedBy: z.string().describe('The caller: `socket`, or the internal job.'),
    recovery: z
      .enum(['finished', 'resumed', 'undone'])
      .optional()
      .describe('What became of it when the daemon restarted in its middle.'),
    error: problemSchema.optional(),
    result: z
      .record(z.string(), z.unknown())
      .optional()
      .describe('What came of it beside the target: an import’s plan, an export’s files.'),
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
      '`none`: answer at once; `done`: when the operation has ended; `ready`: and a started guest is ready: its agent answers, and cloud-init has finished where it is in the image.',
    ),
  waitSeconds: z.coerce.number().int().min(1).max(3600).default(120),
});

export type Operation = z.infer<typeof operationSchema>;
export type OperationKind = (typeof operationKinds)[number];
export type OperationState = Operation['state'];
export type OperationListQuery = z.infer<typeof operationListQuery>;
export type WaitQuery = z.infer<typeof waitQuery>;
