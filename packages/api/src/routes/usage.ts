/** Routes of usage: what instances use now, and what they used. */
import type { Route, RouteKey } from '../route.ts';
import {
  usageHistoryQuery,
  usageHistorySchema,
  usageListQuery,
  usageListSchema,
  usageSchema,
} from '../schemas/usage.ts';
import { instanceParams } from './instance.ts';

const shared = { tag: 'usage', params: instanceParams } as const;

export const usageRoutes = {
  'GET /v1/usage': {
    tag: 'usage',
    operationId: 'listUsage',
    summary: 'What all running instances use, as it was sampled last',
    query: usageListQuery,
    response: usageListSchema,
    errors: [],
  },
  'GET /v1/instances/{instance}/usage': {
    ...shared,
    operationId: 'getUsage',
    summary: 'What an instance uses, for each vCPU, disk and network card',
    response: usageSchema,
    errors: ['instance.not_found', 'instance.state_conflict'],
  },
  'GET /v1/instances/{instance}/usage/history': {
    ...shared,
    operationId: 'getUsageHistory',
    summary: 'What an instance used: the last hour in steps of 5 s, the last month in steps of 5 min',
    query: usageHistoryQuery,
    response: usageHistorySchema,
    errors: ['instance.not_found'],
  },
} as const satisfies Record<RouteKey, Route>;
