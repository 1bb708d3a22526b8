/** The routes of usage. */
import type { Door } from './door.ts';
import { mount } from './mount.ts';

export function mountUsage(door: Door): void {
  const { usage } = door.actions;
  mount(door, 'GET /v1/usage', ({ request, query }) => usage.list(request, query));
  mount(door, 'GET /v1/instances/{instance}/usage', ({ params }) => usage.get(params.instance));
  mount(door, 'GET /v1/instances/{instance}/usage/history', ({ params, query }) =>
    usage.history(params.instance, query),
  );
}
