/** The routes of operations. */
import type { Door } from './door.ts';
import { mount } from './mount.ts';

export function mountOperations(door: Door): void {
  const { operation } = door.actions;
  mount(door, 'GET /v1/operations', ({ query }) => operation.list(query));
  mount(door, 'GET /v1/operations/{operation}', ({ request, params, query }) =>
    operation.get(request, params.operation, query.waitSeconds),
  );
  mount(door, 'POST /v1/operations/{operation}/cancel', ({ request, params }) =>
    operation.cancel(request, params.operation),
  );
}
