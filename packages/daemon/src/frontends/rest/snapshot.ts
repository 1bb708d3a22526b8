/** The routes of snapshots. */
import type { Door } from './door.ts';
import { mount } from './mount.ts';

const all = '/v1/instances/{instance}/snapshots';
const one = `${all}/{snapshot}` as const;

export function mountSnapshots(door: Door): void {
  const { snapshot } = door.actions;
  mount(door, `GET ${all}`, ({ params, query }) => snapshot.list(params.instance, query));
  mount(door, `POST ${all}`, ({ request, params, body, query }) =>
    snapshot.create(request, params.instance, body, query),
  );
  mount(door, `GET ${one}`, ({ params }) => snapshot.get(params.instance, params.snapshot));
  mount(door, `DELETE ${one}`, ({ request, params, query }) =>
    snapshot.remove(request, params.instance, params.snapshot, query),
  );
  mount(door, `POST ${one}/restore`, ({ request, params, query }) =>
    snapshot.restore(request, params.instance, params.snapshot, query),
  );
  mount(door, `POST ${one}/export`, ({ request, params, body, query }) =>
    snapshot.export(request, params.instance, params.snapshot, body, query),
  );
}
