/** Routes of the way in and out: machines from other hypervisors, and exports to them. */
import type { Route, RouteKey } from '../route.ts';
import { operationSchema, waitQuery } from '../schemas/operation.ts';
import { exportCreateSchema, importCreateSchema, importPlanSchema } from '../schemas/transfer.ts';
import { instanceParams, started } from './instance.ts';

const read = [
  'disk.not_found',
  'disk.refused',
  'disk.format_mismatch',
  'disk.too_large',
  'import.malformed',
  'import.unsupported',
  'import.digest_mismatch',
] as const;

export const transferRoutes = {
  'POST /v1/imports/plan': {
    tag: 'transfer',
    operationId: 'planImport',
    summary: 'Say what an import would make, and every setting that it could not carry over',
    body: importCreateSchema,
    response: importPlanSchema,
    errors: [...read, 'pool.not_found', 'disk.convert_failed', 'host.storage_full'],
  },
  'POST /v1/imports': {
    tag: 'transfer',
    operationId: 'importMachine',
    summary: 'Make an instance with its disks from an OVA, OVF, libvirt XML, xl.cfg or bare disk',
    query: waitQuery,
    body: importCreateSchema,
    status: 202,
    response: operationSchema,
    errors: [
      ...read,
      'instance.name_taken',
      'pool.not_found',
      'pool.full',
      'pool.overcommitted',
      'disk.convert_failed',
      'host.storage_full',
      // With `start`.
      ...started,
    ],
  },
  'POST /v1/instances/{instance}/export': {
    tag: 'transfer',
    params: instanceParams,
    operationId: 'exportMachine',
    summary:
      'Write a stopped instance with its disks into an OVA, libvirt XML with qcow2 files, or bare disks',
    can: 'export',
    query: waitQuery,
    body: exportCreateSchema,
    status: 202,
    response: operationSchema,
    errors: [
      'instance.not_found',
      'instance.state_conflict',
      'export.target_exists',
      'export.failed',
      'host.storage_full',
    ],
  },
} as const satisfies Record<RouteKey, Route>;
