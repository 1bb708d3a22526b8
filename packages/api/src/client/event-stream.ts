/**
 * Reads a server-sent event stream (WHATWG HTML §9.2) and gives each event's data. An event of the kind `problem` is the
 * server's error in the middle of a stream, and is thrown. Other fields are left out, as are lines that end in a bare CR.
 */
import type { Problem } from '../problem.ts';
import { problemError } from './failure.ts';

const maxEventChars = 1_000_000;

export async function* serverSentEvents(body: ReadableStream<Uint8Array>): AsyncIterable<string> {
  const decoder = new TextDecoder();
  const block = createBlock();
  let pending = '';
  for await (const chunk of body) {
    pending += decoder.decode(chunk, { stream: true });
    let start = 0;
    for (let end = pending.indexOf('\n'); end >= 0; end = pending.indexOf('\n', start)) {
      const data = block.take(pending.slice(start, end).replace(/\r$/, ''));
      start = end + 1;
      if (data !== undefined) yield data;
    }
    pending = pending.slice(start);
    if (pending.length > maxEventChars) throw tooLong();
  }
}

interface Block {
  /** Takes a line; gives the event's data when the line ends it. */
  take(line: string): string | undefined;
}

/** The lines of one event, up to the empty one that ends it. */
function createBlock(): Block {
  let data: string[] = [];
  let chars = 0;
  let kind = '';
  return {
    take(line) {
      if (line !== '') {
        const [name, value] = field(line);
        if (name === 'event') kind = value;
        if (name !== 'data') return undefined;
        chars += value.length;
        if (chars > maxEventChars) throw tooLong();
        data.push(value);
        return undefined;
      }
      const ended = data.length > 0 ? data.join('\n') : undefined;
      const isProblem = kind === 'problem';
      data = [];
      chars = 0;
      kind = '';
      if (isProblem) throw streamProblem(ended);
      return ended;
    },
  };
}

/** `name: value`, with one space after the colon that is not the value's. A comment has an empty name. */
function field(line: string): [name: string, value: string] {
  const colon = line.indexOf(':');
  if (colon < 0) return [line, ''];
  return [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, '')];
}

function tooLong(): Error {
  return new Error('A server-sent event is longer than 1,000,000 characters.');
}

function streamProblem(data: string | undefined): Error {
  const otherwise = 'The server ended the event stream without a description.';
  try {
    return problemError(JSON.parse(data ?? '{}') as Partial<Problem>, otherwise);
  } catch {
    return problemError(undefined, otherwise);
  }
}
