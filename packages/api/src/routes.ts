/** The whole route table: the contract of the REST door, of the OpenAPI document and of the typed client. */
import { eventRoutes } from './routes/event.ts';
import { guestRoutes } from './routes/guest.ts';
import { hostRoutes } from './routes/host.ts';
import { imageRoutes } from './routes/image.ts';
import { instanceRoutes } from './routes/instance.ts';
import { operationRoutes } from './routes/operation.ts';

export const routes = {
  ...instanceRoutes,
  ...guestRoutes,
  ...imageRoutes,
  ...operationRoutes,
  ...eventRoutes,
  ...hostRoutes,
} as const;

export type Routes = typeof routes;
export type AnyRouteKey = keyof Routes;
