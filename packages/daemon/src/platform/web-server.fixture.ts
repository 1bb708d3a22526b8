// A web server on this host for tests of what fetches: serves bytes as told, well or badly, and remembers what was asked.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

export type Answer = (request: IncomingMessage, response: ServerResponse) => void;

export interface WebServer extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`. */
  readonly url: string;
  readonly requests: { readonly path: string; readonly range: string | undefined }[];
  /** What is answered below a path, now and from now on; 404 for the others. */
  serve(path: string, answer: Answer): void;
}

export async function startWebServer(): Promise<WebServer> {
  const answers = new Map<string, Answer>();
  const requests: { path: string; range: string | undefined }[] = [];
  const server = createServer((request, response) => {
    const path = request.url ?? '/';
    requests.push({ path, range: request.headers.range });
    const answer = answers.get(path.split('?')[0] ?? '');
    if (answer === undefined) response.writeHead(404).end('nothing here');
    else answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    serve: (path, answer) => void answers.set(path, answer),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export interface FileAnswer {
  readonly content: Uint8Array;
  /** Default: `"1"`. Null: none. */
  readonly etag?: string | null;
  readonly headers?: Readonly<Record<string, string>>;
  /** Default: true. */
  readonly ranges?: boolean;
  /** Ends the connection after that many bytes of this answer. Asked anew for every answer. */
  cutAfter?(): number | undefined;
}

/** Answers with a file as a good server does, apart from what it is told otherwise. */
export function file({ content, etag = '"1"', headers = {}, ranges = true, cutAfter }: FileAnswer): Answer {
  return (request, response) => {
    const tag: Record<string, string> = etag === null ? {} : { etag };
    const start = ranges ? Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0) : 0;
    const first = request.headers['if-range'] === etag ? start : 0;
    const total = content.length;
    if (first >= total && first > 0) {
      response.writeHead(416, { ...tag, 'content-range': `bytes */${total}` }).end();
      return;
    }
    const body = content.subarray(first);
    const part: Record<string, string> =
      first > 0 ? { 'content-range': `bytes ${first}-${total - 1}/${total}` } : {};
    response.writeHead(first > 0 ? 206 : 200, {
      'content-length': body.length,
      ...tag,
      ...part,
      ...headers,
    });
    const cut = cutAfter?.();
    if (cut === undefined || cut >= body.length) response.end(body);
    else response.write(body.subarray(0, cut), () => response.socket?.destroySoon());
  };
}

/** Answers with the same bytes again and again, as fast as they are read, until the client has gone. */
export function endless(chunk: Uint8Array): Answer {
  function* forever() {
    while (true) yield chunk;
  }
  return (_request, response) => {
    // It always ends with an error: the client's leaving.
    pipeline(Readable.from(forever()), response).catch(() => {});
  };
}
