/** Routes of an instance's disks and media. */
import type { Route, RouteKey } from '../route.ts';
import { diskAttachSchema, mediumChangeSchema } from '../schemas/disk.ts';
import { nameSchema } from '../schemas/fields.ts';
import { operationSchema, waitQuery } from '../schemas/operation.ts';
import { instanceParams } from './instance.ts';

const diskParams = instanceParams.extend({ disk: nameSchema });
const shared = { tag: 'instance', query: waitQuery, status: 202, response: operationSchema } as const;
const changed = ['instance.not_found', 'instance.state_conflict', 'instance.unresponsive'] as const;

export const diskRoutes = {
  'POST /v1/instances/{instance}/disks': {
    ...shared,
    params: instanceParams,
    operationId: 'attachDisk',
    summary: 'Attach a volume, also to a running guest',
    can: 'attach',
    body: diskAttachSchema,
    errors: [
      ...changed,
      'volume.not_found',
      'volume.in_use',
      'volume.locked',
      'volume.state_conflict',
      'pool.overcommitted',
    ],
  },
  'DELETE /v1/instances/{instance}/disks/{disk}': {
    ...shared,
    params: diskParams,
    operationId: 'detachDisk',
    summary: 'Detach a disk, also from a running guest, which has to let go of it',
    can: 'detach',
    errors: [...changed, 'volume.not_attached', 'volume.in_use', 'volume.detach_refused'],
  },
  'POST /v1/instances/{instance}/disks/{disk}/medium': {
    ...shared,
    params: diskParams,
    operationId: 'changeMedium',
    summary: 'Insert an ISO image into a CD drive, or eject it',
    can: 'medium',
    body: mediumChangeSchema,
    errors: [...changed, 'volume.not_attached', 'image.not_found', 'image.wrong_kind'],
  },
} as const satisfies Record<RouteKey, Route>;
