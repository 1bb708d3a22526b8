/** The routes of images. */
import type { Door } from './door.ts';
import { mount } from './mount.ts';

export function mountImages(door: Door): void {
  const { image } = door.actions;
  mount(door, 'GET /v1/images', ({ query }) => image.list(query));
  mount(door, 'POST /v1/images/build', ({ request, body, query }) => image.build(request, body, query));
  mount(door, 'POST /v1/images/import', ({ request, body, query }) => image.import(request, body, query));
  mount(door, 'POST /v1/images/pull', ({ request, body, query }) => image.pull(request, body, query));
  mount(door, 'POST /v1/images/{image}/export', ({ request, params, body, query }) =>
    image.export(request, params.image, body, query),
  );
  mount(door, 'GET /v1/images/{image}', ({ params }) => image.get(params.image));
  mount(door, 'DELETE /v1/images/{image}', ({ request, params }) => image.remove(request, params.image));
}
