/** The routes about the machine below and the daemon itself. */
import type { Door } from './door.ts';
import { mount } from './mount.ts';

export function mountHost(door: Door): void {
  const { host } = door.actions;
  mount(door, 'GET /v1/host', ({ request }) => host.inspect(request));
  mount(door, 'GET /v1/host/check', ({ request }) => host.check(request));
  mount(door, 'GET /v1/host/capacity', ({ request }) => host.capacity(request));
  mount(door, 'GET /v1/host/topology', ({ request }) => host.topology(request));
  mount(door, 'GET /v1/host/settings', () => host.settings());
  mount(door, 'PATCH /v1/host/settings', ({ request, body }) => host.updateSettings(request, body));
  mount(door, 'GET /v1/host/cpu', ({ request, query }) => host.cpu(request, query));
  mount(door, 'POST /v1/host/cpu-baseline', async ({ body }) => host.cpuBaseline(body));
  mount(door, 'GET /v1/version', async () => door.version);
  mount(door, 'GET /v1/openapi.json', () => door.openapi());
}
