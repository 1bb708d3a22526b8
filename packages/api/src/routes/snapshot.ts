/** Routes of snapshots, which belong to their instance. */
import type { Route, RouteKey } from '../route.ts';
import { referenceSchema } from '../schemas/fields.ts';
import { operationSchema, waitQuery } from '../schemas/operation.ts';
import {
  snapshotCreateSchema,
  snapshotListQuery,
  snapshotPageSchema,
  snapshotSchema,
} from '../schemas/snapshot.ts';
import { snapshotExportSchema } from '../schemas/transfer.ts';
import { instanceParams } from './instance.ts';

const snapshotParams = instanceParams.extend({ snapshot: referenceSchema });
const shared = { tag: 'snapshot', params: snapshotParams } as const;
const changed = [
  'instance.not_found',
  'instance.state_conflict',
  'snapshot.not_found',
  'snapshot.failed',
] as const;
const written = ['pool.full', 'volume.failed', 'host.storage_full'] as const;

export const snapshotRoutes = {
  'GET /v1/instances/{instance}/snapshots': {
    tag: 'snapshot',
    params: instanceParams,
    operationId: 'listSnapshots',
    summary: 'List the snapshots of an instance, oldest first',
    query: snapshotListQuery,
    response: snapshotPageSchema,
    errors: ['instance.not_found'],
  },
  'POST /v1/instances/{instance}/snapshots': {
    tag: 'snapshot',
    params: instanceParams,
    operationId: 'createSnapshot',
    summary: 'Take a snapshot of all disks at one moment',
    can: 'snapshot',
    query: waitQuery,
    body: snapshotCreateSchema,
    status: 202,
    response: operationSchema,
    errors: [
      ...written,
      'instance.not_found',
      'instance.state_conflict',
      'instance.unresponsive',
      'snapshot.name_taken',
      'snapshot.failed',
      'guest.agent_unavailable',
      'guest.agent_timeout',
    ],
  },
  'GET /v1/instances/{instance}/snapshots/{snapshot}': {
    ...shared,
    operationId: 'getSnapshot',
    summary: 'Show a snapshot',
    response: snapshotSchema,
    errors: ['instance.not_found', 'snapshot.not_found'],
  },
  'DELETE /v1/instances/{instance}/snapshots/{snapshot}': {
    ...shared,
    operationId: 'removeSnapshot',
    summary:
      'Remove a snapshot; what only it held is given up, the rest is merged, also while the guest runs',
    query: waitQuery,
    status: 202,
    response: operationSchema,
    errors: [...changed, ...written, 'instance.unresponsive'],
  },
  'POST /v1/instances/{instance}/snapshots/{snapshot}/restore': {
    ...shared,
    operationId: 'restoreSnapshot',
    summary: 'Put the disks of a stopped instance back to a snapshot',
    can: 'restore',
    query: waitQuery,
    status: 202,
    response: operationSchema,
    errors: [...changed, ...written],
  },
  'POST /v1/instances/{instance}/snapshots/{snapshot}/export': {
    ...shared,
    operationId: 'exportSnapshot',
    summary: 'Write the disks as they were into files, also while the guest runs',
    query: waitQuery,
    body: snapshotExportSchema,
    status: 202,
    response: operationSchema,
    errors: [...changed, 'export.target_exists', 'export.failed'],
  },
} as const satisfies Record<RouteKey, Route>;
