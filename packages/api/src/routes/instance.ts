/** Routes of instances: their life, and what is observed of them. */
import * as z from 'zod';
import type { Route, RouteKey } from '../route.ts';
import { referenceSchema } from '../schemas/fields.ts';
import { isolationSchema } from '../schemas/guest.ts';
import {
  instanceCreateSchema,
  instanceListQuery,
  instancePageSchema,
  instanceSchema,
  instanceStartSchema,
  instanceStopSchema,
  instanceUpdateSchema,
} from '../schemas/instance.ts';
import { operationSchema, waitQuery } from '../schemas/operation.ts';
import { instanceTuningSchema } from '../schemas/tuning.ts';

export const instanceParams = z.strictObject({ instance: referenceSchema });

const shared = { tag: 'instance', params: instanceParams } as const;
const changed = ['instance.not_found', 'instance.state_conflict'] as const;
/** What a limit is refused with; `limit.failed` where it is accepted and the host does not do it. */
const limitErrors = ['limit.invalid', 'limit.below_floor', 'limit.unsupported', 'limit.failed'] as const;
/** Of `spec.devices`; those of the handing over only where it is started. */
const deviceErrors = [
  'device.not_found',
  'device.in_use',
  'device.group_shared',
  'device.unsupported',
  'device.pool_exhausted',
  'device.bind_failed',
  'pool.not_found',
] as const;
export const started = [
  ...changed,
  'instance.start_failed',
  'image.not_found',
  'host.insufficient_memory',
  'host.insufficient_cpus',
  'host.insufficient_huge_pages',
  'host.no_such_cpu',
  'host.cpus_taken',
  'pool.overcommitted',
  ...deviceErrors,
  'host.vsock_missing',
  'host.vsock_cid_taken',
  'instance.invalid_topology',
  'instance.too_many_vcpus',
  'host.kvm_unusable',
  'host.qemu_missing',
  'host.qemu_broken',
  'host.qemu_too_old',
  ...limitErrors,
] as const;

export const instanceRoutes = {
  'GET /v1/instances': {
    tag: 'instance',
    operationId: 'listInstances',
    summary: 'List instances, oldest first',
    query: instanceListQuery,
    response: instancePageSchema,
    errors: [],
  },
  'POST /v1/instances': {
    tag: 'instance',
    operationId: 'createInstance',
    summary: 'Create an instance, and start it when asked',
    query: waitQuery,
    body: instanceCreateSchema,
    status: 202,
    response: operationSchema,
    errors: [...started, 'instance.name_taken', 'policy.not_found'],
  },
  'GET /v1/instances/{instance}': {
    ...shared,
    operationId: 'getInstance',
    summary: 'Show an instance',
    response: instanceSchema,
    errors: ['instance.not_found'],
  },
  'PATCH /v1/instances/{instance}': {
    ...shared,
    operationId: 'updateInstance',
    summary:
      'Change an instance: its name, labels, size, limits; live where it runs, as its status then says',
    can: 'update',
    body: instanceUpdateSchema,
    response: instanceSchema,
    errors: [
      ...changed,
      ...limitErrors,
      'instance.name_taken',
      'policy.not_found',
      'volume.not_attached',
      'network.no_such_nic',
      'host.insufficient_memory',
      'host.insufficient_cpus',
      'host.no_such_cpu',
      'host.vsock_missing',
      'instance.invalid_topology',
      'device.not_found',
      'pool.not_found',
    ],
  },
  'DELETE /v1/instances/{instance}': {
    ...shared,
    operationId: 'removeInstance',
    summary: 'Remove an instance and everything made for it',
    can: 'remove',
    query: waitQuery.extend({ force: z.stringbool().default(false).describe('Stop it by force first.') }),
    status: 202,
    response: operationSchema,
    errors: [...changed, 'device.bind_failed'],
  },
  'POST /v1/instances/{instance}/start': {
    ...shared,
    operationId: 'startInstance',
    summary: 'Start the guest',
    can: 'start',
    query: waitQuery,
    body: instanceStartSchema,
    status: 202,
    response: operationSchema,
    errors: started,
  },
  'POST /v1/instances/{instance}/stop': {
    ...shared,
    operationId: 'stopInstance',
    summary: 'Stop the guest: by ACPI, then by force after a grace period, as asked',
    can: 'stop',
    query: waitQuery,
    body: instanceStopSchema,
    status: 202,
    response: operationSchema,
    errors: [...changed, 'instance.stop_timeout'],
  },
  'POST /v1/instances/{instance}/restart': {
    ...shared,
    operationId: 'restartInstance',
    summary: 'Stop the guest as asked, then start it in a new QEMU',
    can: 'restart',
    query: waitQuery,
    body: instanceStopSchema,
    status: 202,
    response: operationSchema,
    errors: [...started, 'instance.stop_timeout'],
  },
  'POST /v1/instances/{instance}/reset': {
    ...shared,
    operationId: 'resetInstance',
    summary: 'Reset the guest as by its reset button',
    can: 'reset',
    response: instanceSchema,
    errors: [...changed, 'instance.unresponsive'],
  },
  'POST /v1/instances/{instance}/pause': {
    ...shared,
    operationId: 'pauseInstance',
    summary: 'Stop the guest’s processors',
    can: 'pause',
    response: instanceSchema,
    errors: [...changed, 'instance.unresponsive'],
  },
  'POST /v1/instances/{instance}/resume': {
    ...shared,
    operationId: 'resumeInstance',
    summary: 'Let the guest’s processors run again',
    can: 'resume',
    response: instanceSchema,
    errors: [...changed, 'instance.unresponsive'],
  },
  'GET /v1/instances/{instance}/tuning': {
    ...shared,
    operationId: 'getInstanceTuning',
    summary: 'Show, setting by setting, what the guest got of the host, and why',
    response: instanceTuningSchema,
    errors: ['instance.not_found'],
  },
  'GET /v1/instances/{instance}/isolation': {
    ...shared,
    operationId: 'getInstanceIsolation',
    summary: 'Show how the guest’s process is isolated, read from /proc and cgroupfs',
    can: 'isolation',
    response: isolationSchema,
    errors: changed,
  },
} as const satisfies Record<RouteKey, Route>;
