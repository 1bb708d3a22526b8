/** Routes of images. */
import * as z from 'zod';
import type { Route, RouteKey } from '../route.ts';
import { referenceSchema } from '../schemas/fields.ts';
import { imageBuildSchema, imageListQuery, imagePageSchema, imageSchema } from '../schemas/image.ts';
import { operationSchema, waitQuery } from '../schemas/operation.ts';
import { diskExportSchema, imageImportSchema, imagePullSchema } from '../schemas/transfer.ts';

const imageParams = z.strictObject({ image: referenceSchema });

export const imageRoutes = {
  'GET /v1/images': {
    tag: 'image',
    operationId: 'listImages',
    summary: 'List images, oldest first',
    query: imageListQuery,
    response: imagePageSchema,
    errors: [],
  },
  'POST /v1/images/build': {
    tag: 'image',
    operationId: 'buildImage',
    summary: 'Build an image by a recipe',
    query: waitQuery,
    body: imageBuildSchema,
    status: 202,
    response: operationSchema,
    errors: ['image.unknown_recipe', 'image.name_taken', 'image.build_failed', 'host.tool_missing'],
  },
  'POST /v1/images/import': {
    tag: 'image',
    operationId: 'importImage',
    summary: 'Take a disk or ISO file of the host, or of an address, as an image',
    query: waitQuery,
    body: imageImportSchema,
    status: 202,
    response: operationSchema,
    errors: [
      'image.name_taken',
      'disk.not_found',
      'disk.refused',
      'disk.format_mismatch',
      'disk.too_large',
      'disk.convert_failed',
      'download.failed',
      'download.refused',
      'download.checksum_mismatch',
      'download.too_large',
      'host.storage_full',
    ],
  },
  'POST /v1/images/pull': {
    tag: 'image',
    operationId: 'pullImage',
    summary: 'Fetch an image from a simplestreams catalogue',
    query: waitQuery,
    body: imagePullSchema,
    status: 202,
    response: operationSchema,
    errors: [
      'image.name_taken',
      'catalogue.unreachable',
      'catalogue.malformed',
      'catalogue.not_found',
      'download.failed',
      'download.checksum_mismatch',
      'disk.refused',
      'disk.convert_failed',
      'host.storage_full',
    ],
  },
  'POST /v1/images/{image}/export': {
    tag: 'image',
    params: imageParams,
    operationId: 'exportImage',
    summary: 'Write the image into a disk file',
    query: waitQuery,
    body: diskExportSchema,
    status: 202,
    response: operationSchema,
    errors: ['image.not_found', 'image.wrong_kind', 'export.target_exists', 'export.failed'],
  },
  'GET /v1/images/{image}': {
    tag: 'image',
    operationId: 'getImage',
    summary: 'Show an image',
    params: imageParams,
    response: imageSchema,
    errors: ['image.not_found'],
  },
  'DELETE /v1/images/{image}': {
    tag: 'image',
    operationId: 'removeImage',
    summary: 'Remove an image that nothing uses',
    params: imageParams,
    status: 204,
    response: z.undefined(),
    errors: ['image.not_found', 'image.in_use'],
  },
} as const satisfies Record<RouteKey, Route>;
