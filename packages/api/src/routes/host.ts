/** Routes about the machine below and the daemon itself. */
import * as z from 'zod';
import type { Route, RouteKey } from '../route.ts';
import {
  hostCapacitySchema,
  hostSettingsSchema,
  hostSettingsUpdateSchema,
  hostTopologySchema,
} from '../schemas/capacity.ts';
import {
  cpuBaselineCreateSchema,
  cpuBaselineSchema,
  hostCpuModelsSchema,
  hostCpuQuery,
} from '../schemas/cpu-model.ts';
import { hostCheckSchema, hostSchema, versionSchema } from '../schemas/host.ts';

export const hostRoutes = {
  'GET /v1/host': {
    tag: 'host',
    operationId: 'getHost',
    summary: 'What this machine is and can do',
    response: hostSchema,
    errors: [],
  },
  'GET /v1/host/check': {
    tag: 'host',
    operationId: 'checkHost',
    summary: 'Compare this machine with best practice',
    response: hostCheckSchema,
    errors: [],
  },
  'GET /v1/host/capacity': {
    tag: 'host',
    operationId: 'getHostCapacity',
    summary: 'What of this machine is promised to guests, and what is left',
    response: hostCapacitySchema,
    errors: [],
  },
  'GET /v1/host/topology': {
    tag: 'host',
    operationId: 'getHostTopology',
    summary: 'Nodes and processors, and who is placed on them',
    response: hostTopologySchema,
    errors: [],
  },
  'GET /v1/host/settings': {
    tag: 'host',
    operationId: 'getHostSettings',
    summary: 'How much more than this machine has may be promised',
    response: hostSettingsSchema,
    errors: [],
  },
  'PATCH /v1/host/settings': {
    tag: 'host',
    operationId: 'updateHostSettings',
    summary: 'Change how much may be promised; guests that run stay',
    body: hostSettingsUpdateSchema,
    response: hostSettingsSchema,
    errors: [],
  },
  'GET /v1/host/cpu': {
    tag: 'host',
    operationId: 'getHostCpu',
    summary: 'Processors that guests can have on this machine',
    query: hostCpuQuery,
    response: hostCpuModelsSchema,
    errors: ['host.qemu_missing', 'host.qemu_broken', 'host.kvm_unusable'],
  },
  'POST /v1/host/cpu-baseline': {
    tag: 'host',
    operationId: 'computeCpuBaseline',
    summary: 'The processor that guests can have on each of several machines',
    description: 'Computed from what is given; nothing is kept.',
    body: cpuBaselineCreateSchema,
    response: cpuBaselineSchema,
    errors: [],
  },
  'GET /v1/version': {
    tag: 'host',
    operationId: 'getVersion',
    summary: 'The daemon’s version',
    response: versionSchema,
    errors: [],
  },
  'GET /v1/openapi.json': {
    tag: 'host',
    operationId: 'getOpenapi',
    summary: 'This document',
    response: z.record(z.string(), z.unknown()),
    errors: [],
  },
} as const satisfies Record<RouteKey, Route>;
