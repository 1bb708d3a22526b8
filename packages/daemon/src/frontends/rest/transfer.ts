/** The routes of imports and exports of machines. */
import type { Door } from './door.ts';
import { mount } from './mount.ts';

export function mountTransfers(door: Door): void {
  const { transfer } = door.actions;
  mount(door, 'POST /v1/imports/plan', ({ request, body }) => transfer.plan(request, body));
  mount(door, 'POST /v1/imports', ({ request, body, query }) => transfer.import(request, body, query));
  mount(door, 'POST /v1/instances/{instance}/export', ({ request, params, body, query }) =>
    transfer.export(request, params.instance, body, query),
  );
}
