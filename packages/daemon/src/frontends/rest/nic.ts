/** The routes of an instance's network cards. */
import type { Door } from './door.ts';
import { mount } from './mount.ts';

export function mountNics(door: Door): void {
  const { nic } = door.actions;
  mount(door, 'POST /v1/instances/{instance}/nics', ({ request, params, body, query }) =>
    nic.attach(request, params.instance, body, query),
  );
  mount(door, 'PATCH /v1/instances/{instance}/nics/{nic}', ({ request, params, body, query }) =>
    nic.update(request, params.instance, params.nic, body, query),
  );
  mount(door, 'DELETE /v1/instances/{instance}/nics/{nic}', ({ request, params, query }) =>
    nic.detach(request, params.instance, params.nic, query),
  );
}
