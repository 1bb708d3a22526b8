/**
 * The receiving half of the talk with a guest agent, without I/O: gives the one line that is waited for, and drops
 * everything else without holding it. The agent's answers carry no ids; order is restored by a sentinel byte 0xFF,
 * which never occurs in JSON and which the agent sends before the answer to guest-sync-delimited.
 */

import { createLineSplitter, LineTooLong } from '../qmp/lines.ts';

export type Expectation =
  /** The next line is the answer. */
  | {
      kind: 'reply';
      maxBytes: number;
      onLine: (line: string) => void;
      onTooLong: (error: LineTooLong) => void;
    }
  /** Lines right after a sentinel, until `onLine` says true. */
  | { kind: 'sync'; maxBytes: number; onLine: (line: string) => boolean };

const SENTINEL = 0xff;
const NEWLINE = 0x0a;

export class ReplyReader {
  #expected: Expectation | undefined;
  #afterSentinel = false;
  #sawStray = false;
  readonly #splitter = createLineSplitter({ maxLineBytes: 0, onLine: (line) => this.#takeLine(line) });

  /** Whether bytes came that nobody expected since the last `expect`: order is then lost. */
  get sawStray(): boolean {
    return this.#sawStray;
  }

  expect(expectation: Expectation): void {
    this.#expected = expectation;
    this.#afterSentinel = false;
    this.#sawStray = false;
    this.#splitter.reset();
    this.#splitter.maxLineBytes = expectation.maxBytes;
  }

  /** Drops what is held and what comes, until something is expected again. */
  ignore(): void {
    this.#expected = undefined;
    this.#splitter.reset();
  }

  push(chunk: Uint8Array): void {
    let rest = chunk;
    while (rest.length > 0) {
      const before = this.#expected;
      if (!before) {
        this.#sawStray = true;
        return;
      }
      rest = before.kind === 'sync' ? this.#pushSync(rest) : this.#pushReply(rest);
      // What follows the answer in the same chunk was sent before the next request: it belongs to nothing.
      if (before.kind === 'sync' && this.#expected !== before) return;
    }
  }

  /** Takes the part of the chunk that belongs to the reply and returns the rest. */
  #pushReply(chunk: Uint8Array): Uint8Array {
    const newline = chunk.indexOf(NEWLINE);
    const end = newline === -1 ? chunk.length : newline + 1;
    this.#feed(chunk.subarray(0, end));
    return chunk.subarray(end);
  }

  /** Takes the part of the chunk up to the next sentinel or, after one, up to the line's end, and returns the rest. */
  #pushSync(chunk: Uint8Array): Uint8Array {
    const newline = this.#afterSentinel ? chunk.indexOf(NEWLINE) : -1;
    const end = newline === -1 ? chunk.length : newline + 1;
    const sentinel = chunk.subarray(0, end).indexOf(SENTINEL);
    if (sentinel !== -1) {
      this.#splitter.reset();
      this.#afterSentinel = true;
      return chunk.subarray(sentinel + 1);
    }
    if (this.#afterSentinel) this.#feed(chunk.subarray(0, end));
    return chunk.subarray(end);
  }

  /** Feeds one piece that holds no more than one line's end. */
  #feed(piece: Uint8Array): void {
    try {
      this.#splitter.push(piece);
    } catch (error) {
      if (!(error instanceof LineTooLong)) throw error;
      this.#splitter.reset();
      this.#afterSentinel = false;
      const expected = this.#expected;
      if (expected?.kind !== 'reply') return;
      this.#expected = undefined;
      expected.onTooLong(error);
    }
  }

  #takeLine(line: string): void {
    const expected = this.#expected;
    if (expected?.kind === 'reply') {
      this.#expected = undefined;
      expected.onLine(line);
    } else if (expected?.kind === 'sync') {
      this.#afterSentinel = false;
      if (expected.onLine(line) && this.#expected === expected) this.#expected = undefined;
    }
  }
}
