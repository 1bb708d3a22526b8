/** The routes of security groups. */
import type { Door } from './door.ts';
import { mount } from './mount.ts';

export function mountSecurityGroups(door: Door): void {
  const { securityGroup } = door.actions;
  mount(door, 'GET /v1/security-groups', ({ query }) => securityGroup.list(query));
  mount(door, 'POST /v1/security-groups', ({ request, body }) => securityGroup.create(request, body));
  mount(door, 'GET /v1/security-groups/{group}', ({ params }) => securityGroup.get(params.group));
  mount(door, 'PATCH /v1/security-groups/{group}', ({ request, params, body }) =>
    securityGroup.update(request, params.group, body),
  );
  mount(door, 'DELETE /v1/security-groups/{group}', ({ request, params }) =>
    securityGroup.remove(request, params.group),
  );
  mount(door, 'POST /v1/security-groups/{group}/rules', ({ request, params, body }) =>
    securityGroup.addRule(request, params.group, body),
  );
  mount(door, 'DELETE /v1/security-groups/{group}/rules/{rule}', ({ request, params }) =>
    securityGroup.removeRule(request, params.group, params.rule),
  );
}
