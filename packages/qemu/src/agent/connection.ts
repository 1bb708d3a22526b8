/**
 * The connection to a QEMU guest agent over a Unix socket. One command is in flight at a time, in the order of the
 * calls; each has a deadline that covers its turn, too. Whenever an answer was missed (deadline, abort, rubbish), the
 * connection synchronises again before the next command, so that no answer is ever taken for another command's.
 * The guest is hostile: every answer has a maximum size and its envelope is checked; `commands.ts` checks the rest.
 * Source: QEMU docs/interop/qemu-ga-ref (guest-sync-delimited).
 */

import { randomInt } from 'node:crypto';
import type { Socket } from 'node:net';
import { startDeadline } from '../deadline.ts';
import { excerpt, isRecord, parseJson } from '../json.ts';
import { openUnixSocket } from '../socket.ts';
import {
  AgentBusy,
  AgentClosed,
  AgentError,
  AgentFailure,
  AgentProtocolError,
  AgentTimeout,
  AgentTooLarge,
  AgentUnreachable,
} from './errors.ts';
import { ReplyReader } from './reader.ts';

export const AGENT_DEFAULT_TIMEOUT_MS = 5000;

export interface AgentConnectOptions {
  /** Path of the Unix socket: QEMU's chardev, or qemu-ga's own with `unix-listen`. */
  path: string;
  signal?: AbortSignal | undefined;
  /** For opening the socket. Default 5000. That it opens does not say that an agent runs: ask `agentPing`. */
  timeoutMs?: number | undefined;
}

export interface AgentCallOptions {
  /** From the call to the answer. Default 5000. */
  timeoutMs?: number | undefined;
  signal?: AbortSignal | undefined;
}

export interface AgentExecuteOptions extends AgentCallOptions {
  /** Longest answer taken. Default 1 MiB. */
  maxReplyBytes?: number | undefined;
  /** Without one the command succeeds silently: the answer to a following synchronisation stands for it. */
  silent?: boolean | undefined;
}

const MAX_SYNC_BYTES = 4096;
const MAX_WAITING = 256;
const MAX_UNSENT_BYTES = 64 * 1024 * 1024;

/** @throws AgentUnreachable, AgentTimeout, or the signal's reason. */
export async function connectAgent(options: AgentConnectOptions): Promise<AgentConnection> {
  const { path, signal, timeoutMs = AGENT_DEFAULT_TIMEOUT_MS } = options;
  try {
    const onTimeout = (): Error => new AgentTimeout('connect', timeoutMs);
    return new AgentConnection(await openUnixSocket({ path, timeoutMs, signal, onTimeout }));
  } catch (cause) {
    if (cause instanceof AgentFailure || signal?.aborted) throw cause;
    throw new AgentUnreachable(`cannot connect to the guest agent's socket ${path}`, { cause });
  }
}

/** One command from its turn to its answer. */
interface Exchange {
  command: string;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
}

export class AgentConnection implements AsyncDisposable {
  /** Resolves when the connection has ended: with the reason, or undefined after `close()`. Never rejects. */
  readonly closed: Promise<Error | undefined>;

  readonly #socket: Socket;
  readonly #reader = new ReplyReader();
  readonly #closed = Promise.withResolvers<Error | undefined>();
  readonly #waiting: (() => void)[] = [];
  #current: Exchange | undefined;
  #inOrder = false;
  #ended: { reason: Error | undefined } | undefined;

  /** Takes over a connected socket; use `connectAgent`. */
  constructor(socket: Socket) {
    this.closed = this.#closed.promise;
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#reader.push(chunk));
    socket.on('error', (cause) =>
      this.#end(new AgentClosed(`the connection to the guest agent broke: ${cause.message}`, { cause })),
    );
    socket.on('close', () => this.#end(new AgentClosed('the connection to the guest agent was closed')));
  }

  /**
   * Sends a command and waits for its answer, which is the guest's word: check its shape.
   * @throws AgentError (the agent refused), AgentTimeout, AgentClosed, AgentProtocolError, AgentTooLarge, AgentBusy,
   * or the signal's reason.
   */
  async execute(command: string, args: object = {}, options: AgentExecuteOptions = {}): Promise<unknown> {
    const { timeoutMs = AGENT_DEFAULT_TIMEOUT_MS, signal } = options;
    signal?.throwIfAborted();
    if (this.#ended) throw this.#ended.reason ?? new AgentClosed(`${command}: the connection is closed`);
    if (this.#waiting.length >= MAX_WAITING)
      throw new AgentBusy(`${command}: too many commands wait already`);
    const line = `${JSON.stringify({ execute: command, arguments: args })}\n`;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const exchange: Exchange = { command, resolve, reject };
    const begin = (): void => this.#begin(exchange, line, options);
    const stop = startDeadline(timeoutMs, signal, (reason) => {
      const turn = this.#waiting.indexOf(begin);
      if (turn !== -1) this.#waiting.splice(turn, 1);
      this.#fail(exchange, reason === 'timeout' ? new AgentTimeout(command, timeoutMs) : signal?.reason);
    });
    if (this.#current) this.#waiting.push(begin);
    else begin();
    try {
      return await promise;
    } finally {
      stop();
      this.#finish(exchange);
    }
  }

  /** Ends the connection; commands that wait are rejected with AgentClosed. May be called again and at any time. */
  async close(): Promise<void> {
    this.#end(undefined);
    await this.closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #begin(exchange: Exchange, line: string, options: AgentExecuteOptions): void {
    this.#current = exchange;
    if (this.#socket.writableLength + line.length > MAX_UNSENT_BYTES) {
      this.#fail(exchange, new AgentBusy(`${exchange.command}: the guest agent does not read`));
    } else if (this.#ended) {
      this.#fail(
        exchange,
        this.#ended.reason ?? new AgentClosed(`${exchange.command}: the connection is closed`),
      );
    } else if (this.#inOrder && !this.#reader.sawStray) {
      this.#send(exchange, line, options);
    } else {
      this.#synchronise(() => this.#send(exchange, line, options));
    }
  }

  #send(exchange: Exchange, line: string, options: AgentExecuteOptions): void {
    const { command } = exchange;
    const { maxReplyBytes = 1024 * 1024, silent = false } = options;
    // Until the answer is there, whatever else happens leaves an answer that somebody must drop.
    this.#inOrder = false;
    this.#reader.expect({
      kind: 'reply',
      maxBytes: maxReplyBytes,
      onTooLong: (cause) =>
        this.#fail(
          exchange,
          new AgentTooLarge(`${command}: the answer is over ${maxReplyBytes} bytes`, { cause }),
        ),
      onLine: (text) => {
        // The sentinel before the answer to the synchronisation says that there was none to the command.
        if (silent && text.startsWith('\ufffd')) return exchange.resolve(undefined);
        try {
          const value = readAnswer(command, text);
          this.#inOrder = !silent;
          exchange.resolve(value);
        } catch (error) {
          this.#inOrder = !silent && error instanceof AgentError;
          this.#fail(exchange, error);
        }
      },
    });
    this.#socket.write(silent ? Buffer.concat([Buffer.from(line), syncRequest(newSyncId(), false)]) : line);
  }

  #synchronise(onDone: () => void): void {
    const id = newSyncId();
    this.#reader.expect({
      kind: 'sync',
      maxBytes: MAX_SYNC_BYTES,
      onLine: (line) => {
        const parsed = parseJson(line);
        if (!parsed.ok || !isRecord(parsed.value) || parsed.value['return'] !== id) return false;
        onDone();
        return true;
      },
    });
    this.#socket.write(syncRequest(id, true));
  }

  #fail(exchange: Exchange, error: unknown): void {
    if (this.#current === exchange) this.#reader.ignore();
    exchange.reject(error);
  }

  #finish(exchange: Exchange): void {
    if (this.#current !== exchange) return;
    this.#current = undefined;
    this.#waiting.shift()?.();
  }

  #end(reason: Error | undefined): void {
    if (this.#ended) return;
    this.#ended = { reason };
    this.#socket.destroy();
    if (this.#current) this.#fail(this.#current, reason ?? new AgentClosed('the connection was closed'));
    this.#closed.resolve(reason);
  }
}

function readAnswer(command: string, text: string): unknown {
  const parsed = parseJson(text);
  const answer = parsed.ok ? parsed.value : undefined;
  if (!isRecord(answer))
    throw new AgentProtocolError(`${command}: the answer is not a JSON object: ${excerpt(text)}`);
  if (Object.hasOwn(answer, 'return')) return answer['return'];
  const error = answer['error'];
  if (!isRecord(error) || typeof error['class'] !== 'string' || typeof error['desc'] !== 'string') {
    throw new AgentProtocolError(`${command}: the answer is neither a return nor an error: ${excerpt(text)}`);
  }
  throw new AgentError(command, error['class'], error['desc']);
}

/** Random, so that a guest cannot answer before it was asked, and no stale answer fits. */
const newSyncId = (): number => randomInt(1, 2 ** 48 - 1);

/** With the sentinel in front the agent also forgets a half request that it holds. */
function syncRequest(id: number, withSentinel: boolean): Buffer {
  const text = `${JSON.stringify({ execute: 'guest-sync-delimited', arguments: { id } })}\n`;
  return Buffer.from(withSentinel ? `\u00ff${text}` : text, 'latin1');
}
