/** The routes of the host's PCI devices. */
import type { Door } from './door.ts';
import { mount } from './mount.ts';

export function mountDevices(door: Door): void {
  const { device } = door.actions;
  mount(door, 'GET /v1/host/devices', ({ request, query }) => device.list(request, query));
  mount(door, 'GET /v1/host/devices/{device}', ({ request, params }) => device.get(request, params.device));
  mount(door, 'PUT /v1/host/devices/{device}/vfs', ({ request, params, body }) =>
    device.createVfs(request, params.device, body),
  );
  mount(door, 'DELETE /v1/host/devices/{device}/vfs', ({ request, params }) =>
    device.removeVfs(request, params.device),
  );
}
