/** Routes of images. */
import { z } from 'zod';
import type { Route, RouteKey } from '../route.ts';
import { referenceSchema } from '../schemas/fields.ts';
import { imageBuildSchema, imageListQuery, imagePageSchema, imageSchema } from '../schemas/image.ts';
import { operationSchema, waitQuery } from '../schemas/operation.ts';

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
    summary: 'Remove an image that no instance uses',
    params: imageParams,
    status: 204,
    response: z.undefined(),
    errors: ['image.not_found', 'image.in_use'],
  },
} as const satisfies Record<RouteKey, Route>;
