/** The routes of an instance's disks and media. */
import type { Door } from './door.ts';
import { mount } from './mount.ts';

export function mountDisks(door: Door): void {
  const { disk } = door.actions;
  mount(door, 'POST /v1/instances/{instance}/disks', ({ request, params, body, query }) =>
    disk.attach(request, params.instance, body, query),
  );
  mount(door, 'DELETE /v1/instances/{instance}/disks/{disk}', ({ request, params, query }) =>
    disk.detach(request, params.instance, params.disk, query),
  );
  mount(door, 'POST /v1/instances/{instance}/disks/{disk}/medium', ({ request, params, body, query }) =>
    disk.changeMedium(request, params.instance, params.disk, body, query),
  );
}
