/** The routes of instances. */
import type { Door } from './door.ts';
import { mount } from './mount.ts';

export function mountInstances(door: Door): void {
  const { instance } = door.actions;
  mount(door, 'GET /v1/instances', ({ query }) => instance.list(query));
  mount(door, 'POST /v1/instances', ({ request, body, query }) => instance.create(request, body, query));
  mount(door, 'GET /v1/instances/{instance}', ({ params }) => instance.get(params.instance));
  mount(door, 'PATCH /v1/instances/{instance}', ({ request, params, body }) =>
    instance.update(request, params.instance, body),
  );
  mount(door, 'DELETE /v1/instances/{instance}', ({ request, params, query: { force, ...wait } }) =>
    instance.remove(request, params.instance, { force }, wait),
  );
  mount(door, 'POST /v1/instances/{instance}/start', ({ request, params, body, query }) =>
    instance.start(request, params.instance, body, query),
  );
  mount(door, 'POST /v1/instances/{instance}/stop', ({ request, params, body, query }) =>
    instance.stop(request, params.instance, body, query),
  );
  mount(door, 'POST /v1/instances/{instance}/restart', ({ request, params, body, query }) =>
    instance.restart(request, params.instance, body, query),
  );
  mount(door, 'POST /v1/instances/{instance}/reset', ({ request, params }) =>
    instance.reset(request, params.instance),
  );
  mount(door, 'POST /v1/instances/{instance}/pause', ({ request, params }) =>
    instance.pause(request, params.instance),
  );
  mount(door, 'POST /v1/instances/{instance}/resume', ({ request, params }) =>
    instance.resume(request, params.instance),
  );
  mount(door, 'GET /v1/instances/{instance}/tuning', ({ request, params }) =>
    instance.tuning(request, params.instance),
  );
  mount(door, 'GET /v1/instances/{instance}/isolation', ({ request, params }) =>
    instance.isolation(request, params.instance),
  );
}
