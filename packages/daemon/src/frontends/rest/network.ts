/** The routes of networks. */
import type { Door } from './door.ts';
import { mount } from './mount.ts';

export function mountNetworks(door: Door): void {
  const { network } = door.actions;
  mount(door, 'GET /v1/networks', ({ query }) => network.list(query));
  mount(door, 'POST /v1/networks', ({ request, body }) => network.create(request, body));
  mount(door, 'GET /v1/networks/{network}', ({ params }) => network.get(params.network));
  mount(door, 'GET /v1/networks/{network}/ports', ({ request, params }) =>
    network.ports(request, params.network),
  );
  mount(door, 'DELETE /v1/networks/{network}', ({ request, params }) =>
    network.remove(request, params.network),
  );
  mount(door, 'POST /v1/network-traces', ({ request, body }) => network.trace(request, body));
}
