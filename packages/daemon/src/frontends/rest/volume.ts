/** The routes of volumes. */
import type { Door } from './door.ts';
import { mount } from './mount.ts';

export function mountVolumes(door: Door): void {
  const { volume } = door.actions;
  mount(door, 'GET /v1/volumes', ({ query }) => volume.list(query));
  mount(door, 'POST /v1/volumes', ({ request, body, query }) => volume.create(request, body, query));
  mount(door, 'GET /v1/volumes/{volume}', ({ params }) => volume.get(params.volume));
  mount(door, 'PATCH /v1/volumes/{volume}', ({ request, params, body }) =>
    volume.update(request, params.volume, body),
  );
  mount(door, 'DELETE /v1/volumes/{volume}', ({ request, params, query }) =>
    volume.remove(request, params.volume, query),
  );
  mount(door, 'POST /v1/volumes/{volume}/resize', ({ request, params, body, query }) =>
    volume.resize(request, params.volume, body, query),
  );
  mount(door, 'POST /v1/volumes/{volume}/flatten', ({ request, params, query }) =>
    volume.flatten(request, params.volume, query),
  );
  mount(door, 'POST /v1/volumes/{volume}/export', ({ request, params, body, query }) =>
    volume.export(request, params.volume, body, query),
  );
}
