/** The routes into a guest: exec, files, logs; the console has its own module. */
import { can, WirtError } from '@wirt/api';
import { bodyChunks } from './body.ts';
import { sendBytes } from './bytes.ts';
import { followConsole, mountConsole } from './console.ts';
import type { Door } from './door.ts';
import { mount, mountRaw } from './mount.ts';

const text = 'text/plain; charset=utf-8';
const bytes = 'application/octet-stream';

export function mountGuests(door: Door): void {
  const { guest } = door.actions;
  const { stallMs, uploadBytes } = door.limits;
  mountConsole(door);
  mountLogs(door);
  mount(door, 'POST /v1/instances/{instance}/exec', ({ request, params, body }) =>
    guest.exec(request, params.instance, body),
  );
  mountRaw(door, 'GET /v1/instances/{instance}/files', async ({ request, params, query }, reply) => {
    const content = await guest.readFile(request, params.instance, query.path);
    await sendBytes(reply, content, { type: bytes, stallMs });
  });
  mountRaw(door, 'PUT /v1/instances/{instance}/files', async (call, reply, incoming) => {
    const content = bodyChunks(incoming, { bytes: uploadBytes, stallMs });
    await guest.writeFile(call.request, call.params.instance, call.query.path, content);
    reply.code(204).send();
  });
}

function mountLogs(door: Door): void {
  const { guest, instance } = door.actions;
  const { stallMs } = door.limits;
  mountRaw(door, 'GET /v1/instances/{instance}/logs', async ({ request, params, query }, reply) => {
    const { source, follow } = query;
    if (follow && source !== 'console') {
      throw new WirtError(
        'request.invalid',
        `follow goes with source=console only, and source is ${source}.`,
      );
    }
    const found = follow ? await instance.get(params.instance) : undefined;
    // A guest that does not run writes nothing more: its log as it is, is all there is to follow.
    const live = found !== undefined && can('console', found.status.state);
    const content = live
      ? await followConsole(door, request, found)
      : await guest.logs(request, params.instance, source);
    await sendBytes(reply, content, { type: text, stallMs });
  });
}
