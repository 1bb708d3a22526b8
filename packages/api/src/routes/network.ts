/** Routes of networks, of the cards on them, and of tracing a connection through them. */
import * as z from 'zod';
import type { Route, RouteKey } from '../route.ts';
import { referenceSchema } from '../schemas/fields.ts';
import {
  networkCreateSchema,
  networkListQuery,
  networkPageSchema,
  networkPortsSchema,
  networkSchema,
  networkTraceResultSchema,
  networkTraceSchema,
} from '../schemas/network.ts';

const shared = { tag: 'network', params: z.strictObject({ network: referenceSchema }) } as const;

export const networkRoutes = {
  'GET /v1/networks': {
    tag: 'network',
    operationId: 'listNetworks',
    summary: 'List networks, oldest first',
    query: networkListQuery,
    response: networkPageSchema,
    errors: [],
  },
  'POST /v1/networks': {
    tag: 'network',
    operationId: 'createNetwork',
    summary: 'Create a network',
    body: networkCreateSchema,
    status: 201,
    response: networkSchema,
    errors: ['network.name_taken', 'network.subnet_conflict', 'network.unsupported', 'network.failed'],
  },
  'GET /v1/networks/{network}': {
    ...shared,
    operationId: 'getNetwork',
    summary: 'Show a network',
    response: networkSchema,
    errors: ['network.not_found'],
  },
  'GET /v1/networks/{network}/ports': {
    ...shared,
    operationId: 'listNetworkPorts',
    summary: 'Show who is on a network, with addresses, leases, rules and counters',
    response: networkPortsSchema,
    errors: ['network.not_found', 'network.failed'],
  },
  'DELETE /v1/networks/{network}': {
    ...shared,
    operationId: 'removeNetwork',
    summary: 'Remove a network that no instance has a card on',
    status: 204,
    response: z.undefined(),
    errors: ['network.not_found', 'network.in_use', 'network.failed'],
  },
  'POST /v1/network-traces': {
    tag: 'network',
    operationId: 'traceNetwork',
    summary: 'Say which rule lets a connection pass or drops it, and prove it with a packet',
    body: networkTraceSchema,
    status: 200,
    response: networkTraceResultSchema,
    errors: ['instance.not_found', 'network.not_found', 'network.unsupported', 'network.failed'],
  },
} as const satisfies Record<RouteKey, Route>;
