/** `wirt cp`: one file between here and a guest. A local file is there whole or not at all. */
import { randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, posix } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { CallInput } from '@wirt/api/client';
import { WirtError } from '@wirt/api/errors';
import { type Context, command, type Outcome } from '../command.ts';
import { write } from '../io.ts';
import { usageError } from '../parse.ts';
import { bytesText } from '../units.ts';

/** The agent writes in small pieces: minutes for a large file, after the last byte has left us. */
const answerMs = 15 * 60_000;
const idleMs = 120_000;

type Place =
  | { readonly kind: 'guest'; readonly instance: string; readonly path: string }
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'standard' };

/** `NAME:/path` is in a guest, `-` standard input or output, and anything else a file here (`./a:/b` too). */
export function parsePlace(text: string): Place {
  if (text === '-') return { kind: 'standard' };
  const match = /^([A-Za-z0-9][A-Za-z0-9-]{0,62}):(\/.*)$/s.exec(text);
  const [, instance, path] = match ?? [];
  if (instance !== undefined && path !== undefined) return { kind: 'guest', instance, path };
  return { kind: 'file', path: text };
}

export const cp = command({
  arguments: {
    source: {
      summary: 'NAME:/PATH in a guest, a file here, or - for standard input',
      complete: 'guest-file',
    },
    target: {
      summary: 'NAME:/PATH in a guest, a file or folder here, or - for standard output',
      complete: 'guest-file',
    },
  },
  options: {},
  examples: [
    { line: 'wirt cp ./app.conf demo:/etc/app.conf', does: 'Into the guest.' },
    { line: 'wirt cp demo:/var/log/messages .', does: 'Out of it.' },
    { line: 'tar c conf | wirt cp - demo:/tmp/conf.tar', does: 'From a pipe.' },
  ],
  run: (context, { args }) => {
    const source = parsePlace(args.source);
    const target = parsePlace(args.target);
    if (source.kind === 'guest' && target.kind !== 'guest') return fetchFile(context, source, target);
    if (source.kind !== 'guest' && target.kind === 'guest') return sendFile(context, source, target);
    throw usageError(
      'cp',
      source.kind === 'guest'
        ? 'wirt cp does not copy from guest to guest.'
        : 'Neither side of wirt cp is in a guest.',
      'One side is NAME:/PATH, with an absolute path.',
    );
  },
});

type GuestPlace = Extract<Place, { kind: 'guest' }>;
type LocalPlace = Exclude<Place, { kind: 'guest' }>;

async function fetchFile(context: Context, source: GuestPlace, target: LocalPlace): Promise<Outcome> {
  const client = context.clientWith({ answerMs: idleMs, idleMs });
  const { body: content } = await client.stream('GET /v1/instances/{instance}/files', {
    params: { instance: source.instance },
    query: { path: source.path },
  });
  if (target.kind === 'standard') {
    for await (const chunk of content ?? []) await write(context.io.stdout, chunk);
    return {};
  }
  const path = await localTarget(target.path, source.path);
  const bytes = await local(`write ${path}`, () => replaceFile(path, content ?? []));
  return copied(`${source.instance}:${source.path}`, path, bytes);
}

/** A folder takes the file under its own name. */
async function localTarget(path: string, guestPath: string): Promise<string> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory() !== true) return path;
  const name = posix.basename(guestPath);
  if (name === '' || name === '.' || name === '..') throw usageError('cp', `${guestPath} names no file.`);
  return join(path, name);
}

async function replaceFile(
  path: string,
  content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<number> {
  const found = await stat(path).catch(() => undefined);
  // A device or a FIFO is written to; a file is replaced when the whole of it is there.
  const direct = found !== undefined && !found.isFile();
  const written = direct ? path : join(dirname(path), `.${basename(path)}.${randomUUID().slice(0, 8)}`);
  const file = createWriteStream(written, direct ? {} : { flags: 'wx', mode: found?.mode ?? 0o666 });
  try {
    await pipeline(content, file);
    if (!direct) await rename(written, path);
  } catch (error) {
    if (!direct) await rm(written, { force: true });
    throw error;
  }
  return file.bytesWritten;
}

/** What the client takes as the body of a route of bytes. */
type Bytes = NonNullable<CallInput<'PUT /v1/instances/{instance}/files'>['bytes']>;

async function sendFile(context: Context, source: LocalPlace, target: GuestPlace): Promise<Outcome> {
  const from = source.kind === 'file' ? source.path : '-';
  if (target.path.endsWith('/') && source.kind === 'standard')
    throw usageError('cp', `${target.path} names no file.`);
  const path = target.path.endsWith('/') ? target.path + basename(from) : target.path;
  if (source.kind === 'file') await requireFile(source.path);
  const content = source.kind === 'file' ? createReadStream(source.path) : context.io.stdin;
  let bytes = 0;
  const counted = async function* (): AsyncGenerator<Buffer> {
    // Neither stream has an encoding set, so both give Buffers.
    for await (const chunk of content as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      yield chunk;
    }
  };
  await context.clientWith({ answerMs }).call('PUT /v1/instances/{instance}/files', {
    params: { instance: target.instance },
    query: { path },
    headers: { 'content-type': 'application/octet-stream' },
    // Our transport takes Node's streams, see transport.ts.
    bytes: Readable.from(counted(), { objectMode: false }) as unknown as Bytes,
  });
  return copied(from, `${target.instance}:${path}`, bytes);
}

async function requireFile(path: string): Promise<void> {
  const found = await local(`read ${path}`, () => stat(path));
  if (found.isDirectory())
    throw usageError(
      'cp',
      `${path} is a folder, and wirt cp copies one file.`,
      'Pack it: `tar c FOLDER | wirt cp - NAME:/tmp/x.tar`.',
    );
}

/** Errors of the file system here are told with the path; those of the daemon pass as they are. */
async function local<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof WirtError) throw error;
    throw new WirtError('request.invalid', `wirt cp could not ${what}.`, { cause: error });
  }
}

function copied(source: string, target: string, bytes: number): Outcome {
  const line = `${source} → ${target}, ${bytesText(bytes)}`;
  return {
    view: {
      data: { source, target, bytes },
      names: [target],
      table: () => [{ kind: 'lines', lines: [line] }],
    },
  };
}
