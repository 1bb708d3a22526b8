/** Reads request bodies: JSON whole and within a limit, anything else as a stream with a cap. Every chunk has a deadline. */
import { WirtError } from '@wirt/api';
import type { FastifyRequest } from 'fastify';

export interface BodyLimits {
  readonly bytes: number;
  readonly stallMs: number;
}

function tooLarge(limit: number): WirtError {
  const size = limit >= 1024 ** 3 ? `${limit / 1024 ** 3} GiB` : `${limit / 1024 ** 2} MiB`;
  return new WirtError('request.too_large', `The body is larger than the ${size} that this route takes.`, {
    details: { limitBytes: limit },
  });
}

/** The body as it arrives. Throws `request.too_large`, by the announced length or when the cap is passed. */
export async function* bodyChunks(request: FastifyRequest, limits: BodyLimits): AsyncGenerator<Uint8Array> {
  if (Number(request.headers['content-length'] ?? 0) > limits.bytes) throw tooLarge(limits.bytes);
  const stalled = new WirtError('request.invalid', `The client sent nothing for ${limits.stallMs / 1000} s.`);
  const watchdog = () => setTimeout(() => request.raw.destroy(stalled), limits.stallMs);
  let timer = watchdog();
  let received = 0;
  try {
    // Leaving the loop must not destroy the request: with it would go the connection, and the answer.
    for await (const chunk of request.raw.iterator({ destroyOnReturn: false })) {
      clearTimeout(timer);
      // IncomingMessage without an encoding gives Buffers only.
      const bytes = chunk as Uint8Array;
      received += bytes.length;
      if (received > limits.bytes) throw tooLarge(limits.bytes);
      yield bytes;
      timer = watchdog();
    }
  } finally {
    clearTimeout(timer);
  }
}

/** The JSON body; undefined when there is none. Throws `request.invalid` or `request.too_large`. */
export async function jsonBody(request: FastifyRequest, limits: BodyLimits): Promise<unknown> {
  const { headers } = request;
  const none = headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) === 0;
  if (none) return undefined;
  const type = headers['content-type'] ?? '';
  if (!/^application\/([\w.+-]+\+)?json\s*(;|$)/i.test(type)) {
    const came =
      type === '' ? 'has no Content-Type' : `has the Content-Type ${JSON.stringify(type.slice(0, 80))}`;
    throw new WirtError('request.invalid', `The body must be JSON, and ${came}.`, {
      hint: 'Send the header Content-Type: application/json.',
    });
  }
  const chunks: Uint8Array[] = [];
  for await (const chunk of bodyChunks(request, limits)) chunks.push(chunk);
  if (chunks.length === 0) return undefined;
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks)));
  } catch (cause) {
    throw new WirtError('request.invalid', 'The body is not valid JSON.', { cause });
  }
}
