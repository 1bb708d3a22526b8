/** Routes of volumes. */
import * as z from 'zod';
import type { Route, RouteKey } from '../route.ts';
import { referenceSchema } from '../schemas/fields.ts';
import { operationSchema, waitQuery } from '../schemas/operation.ts';
import { diskExportSchema } from '../schemas/transfer.ts';
import {
  volumeCreateSchema,
  volumeListQuery,
  volumePageSchema,
  volumeResizeSchema,
  volumeSchema,
  volumeUpdateSchema,
} from '../schemas/volume.ts';

const volumeParams = z.strictObject({ volume: referenceSchema });
const shared = { tag: 'volume', params: volumeParams } as const;
const changed = ['volume.not_found', 'volume.state_conflict'] as const;
const written = ['pool.full', 'pool.unusable', 'volume.failed', 'host.storage_full'] as const;

export const volumeRoutes = {
  'GET /v1/volumes': {
    tag: 'volume',
    operationId: 'listVolumes',
    summary: 'List volumes, oldest first',
    query: volumeListQuery,
    response: volumePageSchema,
    errors: [],
  },
  'POST /v1/volumes': {
    tag: 'volume',
    operationId: 'createVolume',
    summary: 'Create a volume: empty, or a clone of an image or of another volume',
    query: waitQuery,
    body: volumeCreateSchema,
    status: 202,
    response: operationSchema,
    errors: [
      ...written,
      'pool.overcommitted',
      'volume.name_taken',
      'volume.not_found',
      'volume.cannot_shrink',
      'pool.not_found',
      'image.not_found',
      'image.wrong_kind',
    ],
  },
  'GET /v1/volumes/{volume}': {
    ...shared,
    operationId: 'getVolume',
    summary: 'Show a volume',
    response: volumeSchema,
    errors: ['volume.not_found'],
  },
  'PATCH /v1/volumes/{volume}': {
    ...shared,
    operationId: 'updateVolume',
    summary: 'Rename a volume, or change its labels',
    body: volumeUpdateSchema,
    response: volumeSchema,
    errors: [...changed, 'volume.name_taken'],
  },
  'DELETE /v1/volumes/{volume}': {
    ...shared,
    operationId: 'removeVolume',
    summary: 'Remove a volume that nothing uses',
    query: waitQuery,
    status: 202,
    response: operationSchema,
    errors: [...changed, 'volume.in_use'],
  },
  'POST /v1/volumes/{volume}/resize': {
    ...shared,
    operationId: 'resizeVolume',
    summary: 'Grow a volume; a running guest is told',
    query: waitQuery,
    body: volumeResizeSchema,
    status: 202,
    response: operationSchema,
    errors: [...changed, ...written, 'pool.overcommitted', 'volume.cannot_shrink', 'instance.unresponsive'],
  },
  'POST /v1/volumes/{volume}/flatten': {
    ...shared,
    operationId: 'flattenVolume',
    summary: 'Copy what a volume shares into itself, so that it stands alone',
    query: waitQuery,
    status: 202,
    response: operationSchema,
    errors: [...changed, ...written, 'instance.unresponsive'],
  },
  'POST /v1/volumes/{volume}/export': {
    ...shared,
    operationId: 'exportVolume',
    summary: 'Write the volume into a disk file',
    query: waitQuery,
    body: diskExportSchema,
    status: 202,
    response: operationSchema,
    errors: [...changed, 'volume.in_use', 'export.target_exists', 'export.failed'],
  },
} as const satisfies Record<RouteKey, Route>;
