/** Routes of policies. A change is in force on running guests when it is answered. */
import * as z from 'zod';
import type { Route, RouteKey } from '../route.ts';
import { referenceSchema } from '../schemas/fields.ts';
import {
  policyCreateSchema,
  policyListQuery,
  policyPageSchema,
  policySchema,
  policyUpdateSchema,
} from '../schemas/policy.ts';

const shared = { tag: 'policy', params: z.strictObject({ policy: referenceSchema }) } as const;

export const policyRoutes = {
  'GET /v1/policies': {
    tag: 'policy',
    operationId: 'listPolicies',
    summary: 'List policies, oldest first',
    query: policyListQuery,
    response: policyPageSchema,
    errors: [],
  },
  'POST /v1/policies': {
    tag: 'policy',
    operationId: 'createPolicy',
    summary: 'Create a policy: limits that instances share',
    body: policyCreateSchema,
    status: 201,
    response: policySchema,
    errors: ['policy.name_taken', 'limit.invalid', 'limit.below_floor', 'limit.unsupported'],
  },
  'GET /v1/policies/{policy}': {
    ...shared,
    operationId: 'getPolicy',
    summary: 'Show a policy, and which instances have it',
    response: policySchema,
    errors: ['policy.not_found'],
  },
  'PATCH /v1/policies/{policy}': {
    ...shared,
    operationId: 'updatePolicy',
    summary: 'Change a policy, and with it the instances that have it',
    body: policyUpdateSchema,
    response: policySchema,
    errors: [
      'policy.not_found',
      'limit.invalid',
      'limit.below_floor',
      'limit.unsupported',
      'host.insufficient_memory',
    ],
  },
  'DELETE /v1/policies/{policy}': {
    ...shared,
    operationId: 'removePolicy',
    summary: 'Remove a policy that no instance has',
    status: 204,
    response: z.undefined(),
    errors: ['policy.not_found', 'policy.in_use'],
  },
} as const satisfies Record<RouteKey, Route>;
