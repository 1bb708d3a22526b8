/**
 * `fetch` over wirtd's Unix socket: as much of it as the typed client and the commands use, on node:http. Loading the
 * global fetch, or the web streams, would double the start-up time of `wirt ls`. Never retries.
 */
import type { ClientRequest, IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { WirtError } from '@wirt/api/errors';

export interface SocketFetchOptions {
  readonly socketPath: string;
  /** Time for the head of the answer. */
  readonly answerMs: number;
  /** Longest silence of an answer's body. Default: that of `answerMs` for JSON, none for streams. */
  readonly idleMs?: number;
}

/** Keeps the agent from asking whether the host is an IP address, for TLS: 5 ms of `wirt ls` go into that expression. */
const noServerName = { servername: '' };

const maxJsonBytes = 64 * 1024 * 1024;

/** What may be sent as a body: the client sends text, `wirt cp` a stream. */
type Body = string | Uint8Array | Readable;

/** A `fetch` for `createClient`. Throws `daemon.unreachable` when nobody answers, or not in time. */
export function createSocketFetch(options: SocketFetchOptions): typeof fetch {
  const socketFetch = (url: string, init: RequestInit = {}): Promise<Answer> =>
    new Promise((resolve, reject) => {
      // An `import` of node:http evaluates its lazy getters, and with them the whole of undici: 25 ms.
      const http = process.getBuiltinModule('node:http');
      const line = `${init.method ?? 'GET'} ${url.replace(/^http:\/\/[^/]*/, '')}`;
      const request = http.request({
        ...noServerName,
        socketPath: options.socketPath,
        method: init.method ?? 'GET',
        path: line.slice(line.indexOf(' ') + 1),
        // Only plain objects come from our client.
        headers: { host: 'wirt', ...(init.headers as Record<string, string> | undefined) },
        agent: false,
        ...(init.signal == null ? {} : { signal: init.signal }),
      });
      const late = setTimeout(() => request.destroy(tooLate(line, options)), options.answerMs);
      request.on('response', (message) => {
        clearTimeout(late);
        if (options.idleMs !== undefined) limitSilence(message, line, options.idleMs);
        resolve(answer(message, line, options));
      });
      request.on('error', (error) => {
        clearTimeout(late);
        reject(init.signal?.aborted === true ? (init.signal.reason as Error) : unreachable(error, options));
      });
      sendBody(request, init.body as Body | null | undefined, (error) => {
        // Ours, and not the connection's: it is told as it is.
        reject(error);
        request.destroy();
      });
    });
  // The client uses of Response what Answer has; building a real one would load undici.
  return socketFetch as unknown as typeof fetch;
}

function sendBody(
  request: ClientRequest,
  body: Body | null | undefined,
  failed: (error: Error) => void,
): void {
  if (body == null || typeof body === 'string' || body instanceof Uint8Array) {
    request.end(body ?? undefined);
    return;
  }
  body.on('error', failed);
  body.pipe(request);
}

/** The part of a Response in use. `body` can be iterated, which is all that anybody does with it. */
interface Answer {
  readonly ok: boolean;
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  readonly body: AsyncIterable<Uint8Array>;
  json(): Promise<unknown>;
}

function answer(message: IncomingMessage, line: string, options: SocketFetchOptions): Answer {
  const status = message.statusCode ?? 0;
  return {
    ok: status >= 200 && status < 300,
    status,
    headers: {
      get: (name) => {
        const value = message.headers[name.toLowerCase()];
        return value === undefined ? null : String(value);
      },
    },
    body: { [Symbol.asyncIterator]: () => bytesOf(message, options) },
    json: async () => JSON.parse(await readText(message, line, options)) as unknown,
  };
}

async function* bytesOf(message: IncomingMessage, options: SocketFetchOptions): AsyncGenerator<Uint8Array> {
  try {
    // No encoding is set, so that the chunks are Buffers.
    yield* message as AsyncIterable<Buffer>;
  } catch (error) {
    throw error instanceof Error ? unreachable(error, options) : error;
  }
}

function readText(message: IncomingMessage, line: string, options: SocketFetchOptions): Promise<string> {
  if (options.idleMs === undefined) limitSilence(message, line, options.answerMs);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    message.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > maxJsonBytes)
        message.destroy(new WirtError('internal', `wirtd’s answer to ${line} is longer than 64 MiB.`));
      else chunks.push(chunk);
    });
    message.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
    message.on('error', (error) => reject(unreachable(error, options)));
  });
}

function limitSilence(message: IncomingMessage, line: string, idleMs: number): void {
  message.socket.setTimeout(idleMs, () => {
    message.destroy(
      new WirtError(
        'daemon.unreachable',
        `wirtd fell silent in its answer to ${line} for ${idleMs / 1000} s.`,
      ),
    );
  });
}

function tooLate(line: string, { answerMs, socketPath }: SocketFetchOptions): WirtError {
  return new WirtError('daemon.unreachable', `wirtd did not answer ${line} within ${answerMs / 1000} s.`, {
    hint: 'Look whether it is alive: `wirt version`, and its log: `journalctl -u wirtd`.',
    details: { socket: socketPath },
  });
}

/** What a failed connection means, and what to do about it. */
export function unreachable(
  error: Error & { readonly code?: string },
  { socketPath }: SocketFetchOptions,
): Error {
  if (error instanceof WirtError) return error;
  const details = { socket: socketPath };
  switch (error.code) {
    case 'ENOENT':
    case 'ECONNREFUSED':
      return new WirtError('daemon.unreachable', `No wirtd listens on ${socketPath}.`, {
        cause: error,
        hint: 'Start it: `systemctl start wirtd`, or `bin/wirtd` from a clone. Another one: --socket PATH or WIRT_SOCKET.',
        details,
      });
    case 'EACCES':
    case 'EPERM':
      return new WirtError('daemon.unreachable', `You may not use wirtd’s socket ${socketPath}.`, {
        cause: error,
        hint: `Use sudo, or join the group that owns the socket: \`stat -c %G ${socketPath}\`.`,
        details,
      });
    default:
      return new WirtError('daemon.unreachable', `The connection to wirtd on ${socketPath} broke.`, {
        cause: error,
        hint: 'It may be stopping or starting: try again, and see `journalctl -u wirtd`.',
        details,
      });
  }
}
