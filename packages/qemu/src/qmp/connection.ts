/**
 * A QMP connection over a Unix socket: greeting, capabilities, commands by id, events. Every wait ends: by its answer,
 * its deadline, its AbortSignal, or the end of the connection. A peer that breaks the protocol is disconnected; what
 * it can make this side hold is bounded by `maxLineBytes`, `maxOutstanding` and `maxUnsentBytes`.
 * Not here: out-of-band execution, passing of file descriptors.
 * Source: QEMU docs/interop/qmp-spec (QEMU Machine Protocol Specification).
 */

import type { Socket } from 'node:net';
import { startDeadline } from '../deadline.ts';
import { openUnixSocket } from '../socket.ts';
import {
  type QmpArguments,
  type QmpCommandName,
  type QmpEvent,
  type QmpReturn,
  toQmpEvent,
} from './commands.ts';
import {
  QmpBusy,
  QmpClosed,
  QmpError,
  QmpFailure,
  QmpProtocolError,
  QmpTimeout,
  QmpUnreachable,
} from './errors.ts';
import { createLineSplitter, LineTooLong } from './lines.ts';
import { parseQmpLine, type QmpGreeting, type QmpMessage } from './message.ts';

export const QMP_DEFAULT_TIMEOUT_MS = 5000;

export interface QmpConnectOptions {
  /** Path of the Unix socket. */
  path: string;
  signal?: AbortSignal | undefined;
  /** For connecting, greeting and capabilities together. Default 5000. */
  timeoutMs?: number | undefined;
  /** Longest message taken. Default 16 MiB. */
  maxLineBytes?: number | undefined;
  /** Commands without an answer, those past their deadline included. Default 256. */
  maxOutstanding?: number | undefined;
  /** Bytes that the peer has not read. Default 16 MiB. */
  maxUnsentBytes?: number | undefined;
  /** A first listener, there before any event can arrive. */
  onEvent?: ((event: QmpEvent) => void) | undefined;
  /** Gets what a listener throws; the connection and other listeners go on. Default: a process warning. */
  onListenerError?: ((error: unknown) => void) | undefined;
}

export interface QmpExecuteOptions {
  /** Default 5000. */
  timeoutMs?: number | undefined;
  signal?: AbortSignal | undefined;
}

type ExecuteRest<A> = {} extends A
  ? [args?: A, options?: QmpExecuteOptions]
  : [args: A, options?: QmpExecuteOptions];

/** @throws QmpUnreachable, QmpTimeout, QmpProtocolError, QmpClosed, QmpError, or the signal's reason. */
export async function connectQmp(options: QmpConnectOptions): Promise<QmpConnection> {
  const { path, signal, timeoutMs = QMP_DEFAULT_TIMEOUT_MS } = options;
  const deadline = performance.now() + timeoutMs;
  const onTimeout = (): Error => new QmpTimeout('connect', timeoutMs);
  let socket: Socket;
  try {
    socket = await openUnixSocket({ path, timeoutMs, signal, onTimeout });
  } catch (cause) {
    if (cause instanceof QmpFailure || signal?.aborted) throw cause;
    throw new QmpUnreachable(`cannot connect to the QMP socket ${path}`, { cause });
  }
  const connection = new QmpConnection(socket, options);
  const remainingMs = Math.max(1, deadline - performance.now());
  const stop = startDeadline(remainingMs, signal, (reason) =>
    connection.abandon(reason === 'timeout' ? onTimeout() : signal?.reason),
  );
  try {
    await connection.negotiate();
    return connection;
  } catch (error) {
    await connection.close();
    throw error;
  } finally {
    stop();
  }
}

interface Outstanding {
  command: string;
  /** Both do nothing once the caller was told (deadline, abort): the late answer is dropped. */
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
  stop: () => void;
}

export class QmpConnection implements AsyncDisposable {
  /** Resolves when the connection has ended: with the reason, or undefined after `close()`. Never rejects. */
  readonly closed: Promise<Error | undefined>;

  readonly #socket: Socket;
  readonly #maxOutstanding: number;
  readonly #maxUnsentBytes: number;
  readonly #onListenerError: (error: unknown) => void;
  readonly #listeners = new Set<(event: QmpEvent) => void>();
  readonly #outstanding = new Map<number, Outstanding>();
  readonly #greeted = Promise.withResolvers<QmpGreeting>();
  readonly #closed = Promise.withResolvers<Error | undefined>();
  #greeting: QmpGreeting | undefined;
  #lastId = 0;
  #ended: { reason: Error | undefined } | undefined;

  /** Takes over a connected socket; use `connectQmp`. */
  constructor(socket: Socket, options: Omit<QmpConnectOptions, 'path'> = {}) {
    this.closed = this.#closed.promise;
    this.#socket = socket;
    this.#maxOutstanding = options.maxOutstanding ?? 256;
    this.#maxUnsentBytes = options.maxUnsentBytes ?? 16 * 1024 * 1024;
    this.#onListenerError = options.onListenerError ?? warn;
    if (options.onEvent) this.#listeners.add(options.onEvent);
    this.#greeted.promise.catch(() => {});

    const lines = createLineSplitter({
      maxLineBytes: options.maxLineBytes ?? 16 * 1024 * 1024,
      onLine: (line) => this.#receive(parseQmpLine(line)),
    });
    socket.on('data', (chunk: Buffer) => {
      if (this.#ended) return;
      try {
        lines.push(chunk);
      } catch (error) {
        this.#end(
          error instanceof LineTooLong
            ? new QmpProtocolError(`a message of the peer is too long: ${error.message}`)
            : toError(error),
        );
      }
    });
    socket.on('error', (cause) =>
      this.#end(new QmpClosed(`the connection broke: ${cause.message}`, { cause })),
    );
    socket.on('close', () => {
      const middle = lines.bufferedBytes > 0 ? ' in the middle of a message' : '';
      this.#end(new QmpClosed(`the peer closed the connection${middle}`));
    });
  }

  /** What QEMU said of itself when the connection was made. */
  get greeting(): QmpGreeting {
    if (!this.#greeting) throw new QmpProtocolError('the greeting has not come yet');
    return this.#greeting;
  }

  /** Waits for the greeting and leaves the negotiation mode. Has no deadline of its own: `connectQmp` gives it one. */
  async negotiate(): Promise<void> {
    await this.#greeted.promise;
    await this.executeUntyped('qmp_capabilities', {}, { timeoutMs: Number.MAX_SAFE_INTEGER });
  }

  /**
   * Sends a command and waits for its answer.
   * @throws QmpError (QEMU refused), QmpTimeout, QmpClosed, QmpProtocolError, QmpBusy, or the signal's reason.
   */
  execute<N extends QmpCommandName>(
    command: N,
    ...rest: ExecuteRest<QmpArguments<N>>
  ): Promise<QmpReturn<N>> {
    const [args, options] = rest;
    return this.executeUntyped<QmpReturn<N>>(command, args ?? {}, options);
  }

  /** The same for commands that have no type here. `R` is what QEMU promises; it is not checked. */
  executeUntyped<R = unknown>(
    command: string,
    args: object = {},
    options: QmpExecuteOptions = {},
  ): Promise<R> {
    const { timeoutMs = QMP_DEFAULT_TIMEOUT_MS, signal } = options;
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      if (this.#ended) throw this.#ended.reason ?? new QmpClosed(`${command}: the connection is closed`);
      if (this.#outstanding.size >= this.#maxOutstanding) {
        throw new QmpBusy(`${command}: ${this.#outstanding.size} commands already wait for an answer`);
      }
      const id = this.#lastId + 1;
      const line = serialize(command, args, id);
      if (this.#socket.writableLength + line.length > this.#maxUnsentBytes) {
        throw new QmpBusy(
          `${command}: the peer does not read, ${this.#socket.writableLength} bytes wait already`,
        );
      }
      const entry: Outstanding = {
        command,
        resolve: resolve as (value: unknown) => void,
        reject,
        stop: () => {},
      };
      entry.stop = startDeadline(timeoutMs, signal, (reason) =>
        reject(reason === 'timeout' ? new QmpTimeout(command, timeoutMs) : signal?.reason),
      );
      this.#lastId = id;
      this.#outstanding.set(id, entry);
      this.#socket.write(line);
    });
  }

  /** Calls the listener for every event from now on; returns the function that ends it. */
  on(listener: (event: QmpEvent) => void): () => void {
    // A fresh function, so that the same listener added twice is also removed one at a time.
    const own = (event: QmpEvent): void => listener(event);
    this.#listeners.add(own);
    return () => {
      this.#listeners.delete(own);
    };
  }

  /** Ends the connection; commands in flight are rejected with QmpClosed. May be called again and at any time. */
  async close(): Promise<void> {
    this.#end(undefined);
    await this.closed;
  }

  /** Ends the connection for a reason, which `closed` and all that wait are given. */
  abandon(reason: unknown): void {
    this.#end(toError(reason));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #receive(message: QmpMessage): void {
    if (!this.#greeting) {
      if (message.kind !== 'greeting')
        throw new QmpProtocolError('the peer did not begin with a QMP greeting');
      this.#greeting = message.greeting;
      this.#greeted.resolve(message.greeting);
      return;
    }
    switch (message.kind) {
      case 'event':
        return this.#emit(toQmpEvent(message));
      case 'return':
        return this.#take(message.id).resolve(message.value);
      case 'error': {
        // QEMU answers what it could not parse without an id; it answers in order, so the oldest is meant.
        const id = message.id === undefined ? this.#outstanding.keys().next().value : message.id;
        const { command, reject } = this.#take(id);
        return reject(new QmpError(command, message.class, message.desc));
      }
      case 'greeting':
        throw new QmpProtocolError('the peer sent a second greeting');
    }
  }

  #take(id: unknown): Outstanding {
    const entry = typeof id === 'number' ? this.#outstanding.get(id) : undefined;
    if (!entry) throw new QmpProtocolError('the peer answered a command that was not sent');
    this.#outstanding.delete(id as number); // a number, or there were no entry
    entry.stop();
    return entry;
  }

  #emit(event: QmpEvent): void {
    for (const listener of Array.from(this.#listeners)) {
      try {
        listener(event);
      } catch (error) {
        this.#onListenerError(error);
      }
    }
  }

  #end(reason: Error | undefined): void {
    if (this.#ended) return;
    this.#ended = { reason };
    this.#socket.destroy();
    const error = reason ?? new QmpClosed('the connection was closed');
    this.#greeted.reject(error);
    for (const { reject, stop } of this.#outstanding.values()) {
      stop();
      reject(error);
    }
    this.#outstanding.clear();
    this.#listeners.clear();
    this.#closed.resolve(reason);
  }
}

/** A surrogate without its other half, as JSON.stringify writes it: QEMU takes no such string. */
const LONE_SURROGATE = /(?<!\\)(?:\\\\)*\\ud[89a-f]/;

function serialize(command: string, args: object, id: number): string {
  const json = JSON.stringify({ execute: command, arguments: args, id });
  if (LONE_SURROGATE.test(json))
    throw new QmpError(command, 'GenericError', 'an argument is not valid Unicode');
  return `${json}\n`;
}

function toError(reason: unknown): Error {
  return reason instanceof Error ? reason : new QmpClosed(`the connection was given up: ${String(reason)}`);
}

function warn(error: unknown): void {
  process.emitWarning(error instanceof Error ? error : String(error), { code: 'QMP_LISTENER' });
}
