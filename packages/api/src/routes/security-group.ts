/** Routes of security groups. A change is in force on running guests when it is answered. */
import * as z from 'zod';
import type { Route, RouteKey } from '../route.ts';
import { idSchema, referenceSchema } from '../schemas/fields.ts';
import {
  securityGroupCreateSchema,
  securityGroupListQuery,
  securityGroupPageSchema,
  securityGroupSchema,
  securityGroupUpdateSchema,
  securityRuleCreateSchema,
} from '../schemas/security-group.ts';

const groupParams = z.strictObject({ group: referenceSchema });
const shared = { tag: 'network', params: groupParams } as const;
const changed = ['group.not_found', 'network.failed'] as const;

export const securityGroupRoutes = {
  'GET /v1/security-groups': {
    tag: 'network',
    operationId: 'listSecurityGroups',
    summary: 'List security groups, oldest first',
    query: securityGroupListQuery,
    response: securityGroupPageSchema,
    errors: [],
  },
  'POST /v1/security-groups': {
    tag: 'network',
    operationId: 'createSecurityGroup',
    summary: 'Create a security group',
    body: securityGroupCreateSchema,
    status: 201,
    response: securityGroupSchema,
    errors: [...changed, 'group.name_taken'],
  },
  'GET /v1/security-groups/{group}': {
    ...shared,
    operationId: 'getSecurityGroup',
    summary: 'Show a security group',
    response: securityGroupSchema,
    errors: ['group.not_found'],
  },
  'PATCH /v1/security-groups/{group}': {
    ...shared,
    operationId: 'updateSecurityGroup',
    summary: 'Change a security group',
    body: securityGroupUpdateSchema,
    response: securityGroupSchema,
    errors: [...changed],
  },
  'DELETE /v1/security-groups/{group}': {
    ...shared,
    operationId: 'removeSecurityGroup',
    summary: 'Remove a security group that no card and no rule of another group uses',
    status: 204,
    response: z.undefined(),
    errors: [...changed, 'group.in_use'],
  },
  'POST /v1/security-groups/{group}/rules': {
    ...shared,
    operationId: 'addSecurityRule',
    summary: 'Add a rule; one that is there already stays one',
    body: securityRuleCreateSchema,
    response: securityGroupSchema,
    errors: [...changed],
  },
  'DELETE /v1/security-groups/{group}/rules/{rule}': {
    tag: 'network',
    params: groupParams.extend({ rule: idSchema }),
    operationId: 'removeSecurityRule',
    summary: 'Remove a rule; connections that only it allowed are cut',
    response: securityGroupSchema,
    errors: [...changed, 'group.rule_not_found'],
  },
} as const satisfies Record<RouteKey, Route>;
