/** Routes of operations. */
import * as z from 'zod';
import type { Route, RouteKey } from '../route.ts';
import { idSchema } from '../schemas/fields.ts';
import { operationListQuery, operationPageSchema, operationSchema } from '../schemas/operation.ts';

const operationParams = z.strictObject({ operation: idSchema });

export const operationRoutes = {
  'GET /v1/operations': {
    tag: 'operation',
    operationId: 'listOperations',
    summary: 'List operations, oldest first',
    query: operationListQuery,
    response: operationPageSchema,
    errors: [],
  },
  'GET /v1/operations/{operation}': {
    tag: 'operation',
    operationId: 'getOperation',
    summary: 'Show an operation',
    params: operationParams,
    query: z.strictObject({
      waitSeconds: z.coerce
        .number()
        .int()
        .min(0)
        .max(3600)
        .default(0)
        .describe('Wait this long for it to end.'),
    }),
    response: operationSchema,
    errors: ['operation.not_found'],
  },
  'POST /v1/operations/{operation}/cancel': {
    tag: 'operation',
    operationId: 'cancelOperation',
    summary: 'Cancel an operation; what it has done is undone',
    params: operationParams,
    status: 202,
    response: operationSchema,
    errors: ['operation.not_found', 'operation.not_cancellable'],
  },
} as const satisfies Record<RouteKey, Route>;
