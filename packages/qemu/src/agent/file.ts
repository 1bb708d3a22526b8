/**
 * Reads and writes files in the guest through its agent, piece by piece. Sizes are limited, every piece has its own
 * deadline, and the guest's file is closed however it ends. Rights and owner of a new file are the agent's (root).
 * Source: QEMU docs/interop/qemu-ga-ref (guest-file-open and following).
 */

import type { AgentConnection } from './connection.ts';
import { AgentTooLarge } from './errors.ts';
import { answerOf } from './shape.ts';

export interface AgentFileOptions {
  /** Path in the guest. */
  path: string;
  /** The file may not be larger. Default 1 GiB. */
  maxBytes?: number | undefined;
  /** Bytes in one request. Default 256 KiB. */
  chunkBytes?: number | undefined;
  /** For each request. Default 5000. */
  timeoutMs?: number | undefined;
  signal?: AbortSignal | undefined;
}

export interface AgentWriteOptions extends AgentFileOptions {
  content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  /** Add to the end of the file instead of replacing it. */
  append?: boolean | undefined;
}

const DEFAULT_MAX_BYTES = 1024 * 1024 * 1024;
const DEFAULT_CHUNK_BYTES = 256 * 1024;

/** The file's content. Leaving the loop early closes the file, too. */
export async function* agentReadFile(
  agent: AgentConnection,
  options: AgentFileOptions,
): AsyncGenerator<Uint8Array, void, void> {
  const { path, maxBytes = DEFAULT_MAX_BYTES, chunkBytes = DEFAULT_CHUNK_BYTES } = options;
  const shape = answerOf('guest-file-read');
  const handle = await open(agent, options, 'r');
  try {
    const maxReplyBytes = 4096 + 4 * Math.ceil(chunkBytes / 3);
    for (let total = 0; ; ) {
      const request = { handle, count: chunkBytes };
      const answer = shape.object(
        await agent.execute('guest-file-read', request, { ...callOptions(options), maxReplyBytes }),
      );
      const bytes = shape.base64(answer, 'buf-b64');
      const eof = shape.boolean(answer, 'eof');
      if (bytes.length !== shape.count(answer, 'count') || bytes.length > chunkBytes) {
        throw shape.wrong('has another number of bytes than it says');
      }
      if (bytes.length === 0 && !eof) throw shape.wrong('is empty before the end of the file');
      total += bytes.length;
      if (total > maxBytes) throw new AgentTooLarge(`guest-file-read: ${path} is over ${maxBytes} bytes`);
      if (bytes.length > 0) yield bytes;
      if (eof) return;
    }
  } finally {
    // The content was read or there is an error on its way: neither gains by an error of the closing.
    await close(agent, handle, options).catch(() => {});
  }
}

/** Writes the content and returns its size in bytes. What was written before an error stays in the guest's file. */
export async function agentWriteFile(agent: AgentConnection, options: AgentWriteOptions): Promise<number> {
  const { path, content, append = false, maxBytes = DEFAULT_MAX_BYTES } = options;
  const { chunkBytes = DEFAULT_CHUNK_BYTES } = options;
  const handle = await open(agent, options, append ? 'a' : 'w');
  let total = 0;
  try {
    for await (const part of content) {
      total += part.length;
      if (total > maxBytes) throw new AgentTooLarge(`guest-file-write: ${path} is over ${maxBytes} bytes`);
      for (let start = 0; start < part.length; ) {
        start += await writeSome(agent, handle, part.subarray(start, start + chunkBytes), options);
      }
    }
    await agent.execute('guest-file-flush', { handle }, callOptions(options));
  } catch (error) {
    await close(agent, handle, options).catch(() => {});
    throw error;
  }
  await close(agent, handle, options);
  return total;
}

async function writeSome(
  agent: AgentConnection,
  handle: number,
  bytes: Uint8Array,
  options: AgentFileOptions,
): Promise<number> {
  const shape = answerOf('guest-file-write');
  const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
  const request = { handle, 'buf-b64': data };
  const answer = shape.object(await agent.execute('guest-file-write', request, callOptions(options)));
  const written = shape.count(answer, 'count');
  if (written === 0 || written > bytes.length) throw shape.wrong(`wrote ${written} of ${bytes.length} bytes`);
  return written;
}

async function open(
  agent: AgentConnection,
  options: AgentFileOptions,
  mode: 'r' | 'w' | 'a',
): Promise<number> {
  const { path, chunkBytes = DEFAULT_CHUNK_BYTES } = options;
  if (!(chunkBytes >= 1)) throw new RangeError(`chunkBytes must be at least 1, not ${chunkBytes}`);
  const handle = await agent.execute('guest-file-open', { path, mode }, callOptions(options));
  return answerOf('guest-file-open').count({ handle }, 'handle');
}

/** Without the signal: a file is also closed after an abort. */
async function close(agent: AgentConnection, handle: number, { timeoutMs }: AgentFileOptions): Promise<void> {
  await agent.execute('guest-file-close', { handle }, { timeoutMs });
}

function callOptions({ timeoutMs, signal }: AgentFileOptions): { timeoutMs?: number; signal?: AbortSignal } {
  return { ...(timeoutMs !== undefined && { timeoutMs }), ...(signal && { signal }) };
}
