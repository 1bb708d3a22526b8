/** The routes of policies. */
import type { Door } from './door.ts';
import { mount } from './mount.ts';

export function mountPolicies(door: Door): void {
  const { policy } = door.actions;
  mount(door, 'GET /v1/policies', ({ query }) => policy.list(query));
  mount(door, 'POST /v1/policies', ({ request, body }) => policy.create(request, body));
  mount(door, 'GET /v1/policies/{policy}', ({ params }) => policy.get(params.policy));
  mount(door, 'PATCH /v1/policies/{policy}', ({ request, params, body }) =>
    policy.update(request, params.policy, body),
  );
  mount(door, 'DELETE /v1/policies/{policy}', ({ request, params }) => policy.remove(request, params.policy));
}
