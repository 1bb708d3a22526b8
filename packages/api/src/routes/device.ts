/** Routes of the host's PCI devices. Which ones a guest is given is in the instance's `spec.devices`. */
import * as z from 'zod';
import type { Route, RouteKey } from '../route.ts';
import {
  hostDeviceListQuery,
  hostDevicePageSchema,
  hostDeviceSchema,
  pciAddressSchema,
  virtualFunctionsSchema,
} from '../schemas/device.ts';

const shared = { tag: 'host', params: z.strictObject({ device: pciAddressSchema }) } as const;

export const deviceRoutes = {
  'GET /v1/host/devices': {
    tag: 'host',
    operationId: 'listHostDevices',
    summary: 'List the host’s PCI devices, by address: who uses each, and whether a guest could have it',
    query: hostDeviceListQuery,
    response: hostDevicePageSchema,
    errors: [],
  },
  'GET /v1/host/devices/{device}': {
    ...shared,
    operationId: 'getHostDevice',
    summary: 'Show a PCI device of the host',
    response: hostDeviceSchema,
    errors: ['device.not_found'],
  },
  'PUT /v1/host/devices/{device}/vfs': {
    ...shared,
    operationId: 'createVirtualFunctions',
    summary: 'Split a device into virtual functions, and put them into a pool; also after each boot',
    body: virtualFunctionsSchema,
    response: hostDeviceSchema,
    errors: [
      'device.not_found',
      'device.in_use',
      'device.unsupported',
      'device.bind_failed',
      'host.permission_denied',
    ],
  },
  'DELETE /v1/host/devices/{device}/vfs': {
    ...shared,
    operationId: 'removeVirtualFunctions',
    summary: 'Take away the virtual functions of a device, which no guest may have',
    status: 204,
    response: z.undefined(),
    errors: ['device.not_found', 'device.in_use', 'device.bind_failed', 'host.permission_denied'],
  },
} as const satisfies Record<RouteKey, Route>;
