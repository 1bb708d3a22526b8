/** The routes of pools. */
import type { Door } from './door.ts';
import { mount } from './mount.ts';

export function mountPools(door: Door): void {
  const { pool } = door.actions;
  mount(door, 'GET /v1/pools', ({ query }) => pool.list(query));
  mount(door, 'POST /v1/pools', ({ request, body }) => pool.create(request, body));
  mount(door, 'GET /v1/pools/{pool}', ({ params }) => pool.get(params.pool));
  mount(door, 'DELETE /v1/pools/{pool}', ({ request, params }) => pool.remove(request, params.pool));
}
