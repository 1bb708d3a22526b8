// A `fetch` over a Unix socket, for the typed client. Streams both ways; only what tests need of the Fetch standard.
import { request } from 'node:http';
import { Readable } from 'node:stream';

export function unixFetch(socketPath: string): typeof fetch {
  return async (input, init = {}) => {
    const url = new URL(input instanceof Request ? input.url : input);
    const body = init.body instanceof ReadableStream ? Readable.fromWeb(init.body as never) : init.body;
    return new Promise<Response>((resolve, reject) => {
      const outgoing = request(
        {
          socketPath,
          path: url.pathname + url.search,
          method: init.method ?? 'GET',
          headers: { ...(init.headers as Record<string, string>) },
          ...(init.signal ? { signal: init.signal } : {}),
        },
        (incoming) => {
          const status = incoming.statusCode ?? 0;
          const headers = Object.entries(incoming.headers).map(([name, value]): [string, string] => [
            name,
            String(value),
          ]);
          // A Response with one of these statuses must have no body (Fetch standard, null body status).
          const stream = status === 204 ? null : (Readable.toWeb(incoming) as ReadableStream);
          resolve(new Response(stream, { status, headers }));
        },
      );
      outgoing.on('error', reject);
      if (body instanceof Readable) body.pipe(outgoing);
      else outgoing.end(body as string | Uint8Array | undefined);
    });
  };
}
