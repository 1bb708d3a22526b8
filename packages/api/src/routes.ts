/** The whole route table: the contract of the REST door, of the OpenAPI document and of the typed client. */
import { deviceRoutes } from './routes/device.ts';
import { diskRoutes } from './routes/disk.ts';
import { eventRoutes } from './routes/event.ts';
import { guestRoutes } from './routes/guest.ts';
import { hostRoutes } from './routes/host.ts';
import { imageRoutes } from './routes/image.ts';
import { instanceRoutes } from './routes/instance.ts';
import { networkRoutes } from './routes/network.ts';
import { nicRoutes } from './routes/nic.ts';
import { operationRoutes } from './routes/operation.ts';
import { policyRoutes } from './routes/policy.ts';
import { poolRoutes } from './routes/pool.ts';
import { securityGroupRoutes } from './routes/security-group.ts';
import { snapshotRoutes } from './routes/snapshot.ts';
import { transferRoutes } from './routes/transfer.ts';
import { usageRoutes } from './routes/usage.ts';
import { volumeRoutes } from './routes/volume.ts';

export const routes = {
  ...instanceRoutes,
  ...diskRoutes,
  ...nicRoutes,
  ...snapshotRoutes,
  ...guestRoutes,
  ...imageRoutes,
  ...volumeRoutes,
  ...poolRoutes,
  ...networkRoutes,
  ...securityGroupRoutes,
  ...policyRoutes,
  ...usageRoutes,
  ...transferRoutes,
  ...operationRoutes,
  ...eventRoutes,
  ...hostRoutes,
  ...deviceRoutes,
} as const;

export type Routes = typeof routes;
export type AnyRouteKey = keyof Routes;
