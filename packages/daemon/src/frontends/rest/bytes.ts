/** Answers that are opaque bytes, streamed: an error before the first byte is a problem, a later one breaks the connection. */
import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { FastifyReply } from 'fastify';

export interface BytesOptions {
  readonly type: string;
  /** A client that takes nothing for this long is dropped. */
  readonly stallMs: number;
}

/** Sends `content` as the client takes it. Throws what the content throws before its first bytes. */
export async function sendBytes(
  reply: FastifyReply,
  content: AsyncIterable<Uint8Array>,
  options: BytesOptions,
): Promise<void> {
  const iterator = content[Symbol.asyncIterator]();
  const first = await iterator.next();
  reply.hijack();
  const { raw } = reply;
  raw.writeHead(200, { 'content-type': options.type, 'cache-control': 'no-store' });
  // The first bytes of a quiet console may be long in coming; the client is told at once that it is connected.
  raw.flushHeaders();
  const stream = Readable.from(paced(raw, first, iterator, options.stallMs), { objectMode: false });
  // A failure destroys the response before its end, which the client sees as a broken transfer.
  await pipeline(stream, raw).catch(() => raw.destroy());
}

async function* paced(
  raw: ServerResponse,
  first: IteratorResult<Uint8Array, unknown>,
  iterator: AsyncIterator<Uint8Array>,
  stallMs: number,
): AsyncGenerator<Uint8Array> {
  try {
    for (let result = first; result.done !== true; result = await iterator.next()) {
      if (result.value.length === 0) continue;
      // Between yield and its return the chunk waits for the client.
      const timer = setTimeout(() => raw.destroy(), stallMs);
      try {
        yield result.value;
      } finally {
        clearTimeout(timer);
      }
    }
  } finally {
    await iterator.return?.();
  }
}
