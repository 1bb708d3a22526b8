/** Routes of an instance's network cards. */
import type { Route, RouteKey } from '../route.ts';
import { nameSchema } from '../schemas/fields.ts';
import { nicCreateSchema, nicUpdateSchema } from '../schemas/nic.ts';
import { operationSchema, waitQuery } from '../schemas/operation.ts';
import { instanceParams } from './instance.ts';

const nicParams = instanceParams.extend({ nic: nameSchema });
const shared = { tag: 'instance', query: waitQuery, status: 202, response: operationSchema } as const;
const changed = [
  'instance.not_found',
  'instance.state_conflict',
  'instance.unresponsive',
  'network.failed',
] as const;
const chosen = ['group.not_found', 'network.port_taken', 'network.address_taken'] as const;

export const nicRoutes = {
  'POST /v1/instances/{instance}/nics': {
    ...shared,
    params: instanceParams,
    operationId: 'attachNic',
    summary: 'Attach a network card, also to a running guest',
    can: 'attach',
    body: nicCreateSchema,
    errors: [
      ...changed,
      ...chosen,
      'network.not_found',
      'network.addresses_exhausted',
      'network.unsupported',
    ],
  },
  'PATCH /v1/instances/{instance}/nics/{nic}': {
    ...shared,
    params: nicParams,
    operationId: 'updateNic',
    summary:
      'Change security groups, published ports or the floating address of a card, also of a running guest',
    can: 'update',
    body: nicUpdateSchema,
    errors: [...changed, ...chosen, 'network.no_such_nic', 'network.unsupported'],
  },
  'DELETE /v1/instances/{instance}/nics/{nic}': {
    ...shared,
    params: nicParams,
    operationId: 'detachNic',
    summary: 'Detach a network card, also from a running guest',
    can: 'detach',
    errors: [...changed, 'network.no_such_nic', 'network.detach_refused'],
  },
} as const satisfies Record<RouteKey, Route>;
