/** Routes of pools: where volumes lie. */
import * as z from 'zod';
import type { Route, RouteKey } from '../route.ts';
import { referenceSchema } from '../schemas/fields.ts';
import { poolCreateSchema, poolListQuery, poolPageSchema, poolSchema } from '../schemas/pool.ts';

const poolParams = z.strictObject({ pool: referenceSchema });

export const poolRoutes = {
  'GET /v1/pools': {
    tag: 'pool',
    operationId: 'listPools',
    summary: 'List pools, with what they hold and what is free',
    query: poolListQuery,
    response: poolPageSchema,
    errors: [],
  },
  'POST /v1/pools': {
    tag: 'pool',
    operationId: 'createPool',
    summary: 'Make a directory a pool',
    body: poolCreateSchema,
    status: 201,
    response: poolSchema,
    errors: ['pool.name_taken', 'pool.unusable', 'pool.owned'],
  },
  'GET /v1/pools/{pool}': {
    tag: 'pool',
    operationId: 'getPool',
    summary: 'Show a pool',
    params: poolParams,
    response: poolSchema,
    errors: ['pool.not_found'],
  },
  'DELETE /v1/pools/{pool}': {
    tag: 'pool',
    operationId: 'removePool',
    summary: 'Give up a pool that has no volumes; its directory stays',
    params: poolParams,
    status: 204,
    response: z.undefined(),
    errors: ['pool.not_found', 'pool.in_use'],
  },
} as const satisfies Record<RouteKey, Route>;
