/**
 * The main thread's end of the worker: numbers requests, sends them in batches of which at most two are under way
 * (what arrives meanwhile is the next group commit), and settles each with its answer. A worker that dies fails
 * whatever waits and whatever comes after.
 */
import { Worker } from 'node:worker_threads';
import { WirtError } from '@wirt/api';
import type { Logger } from '@wirt/core';
import type {
  ChangePage,
  FromWorker,
  ToWorker,
  WatchPosition,
  WireAnswer,
  WireFailure,
  WireRecord,
  WireRequest,
  WireWrite,
  WorkerSettings,
} from './protocol.ts';

const BATCHES_UNDER_WAY = 2;
const REQUESTS_PER_BATCH = 1_000;
/** Bounds what the worker holds of requests, whatever the callers do. */
const CHARACTERS_PER_BATCH = 1 << 20;
const SLOW_BATCH_MS = 1_000;

interface Waiting {
  settle(answer: WireAnswer): void;
  fail(error: WirtError): void;
}

export class WorkerLink {
  readonly #worker: Worker;
  readonly #directory: string;
  readonly #logger: Logger;
  readonly #waiting = new Map<number, Waiting>();
  #queue: WireRequest[] = [];
  #lastId = 0;
  #batchesUnderWay = 0;
  #flushIsScheduled = false;
  #ended: WirtError | undefined;
  #writesFail = false;
  readonly #opened = Promise.withResolvers<number>();
  readonly #exited = Promise.withResolvers<void>();
  #idle: (() => void) | undefined;
  #known = 0;

  constructor(settings: WorkerSettings, workerUrl: URL, logger: Logger) {
    this.#directory = settings.directory;
    this.#logger = logger;
    this.#worker = new Worker(workerUrl, {
      workerData: settings,
      // Neither what the parent was started with (a test runner's loader) nor its environment belongs here.
      execArgv: ['--disable-warning=ExperimentalWarning'],
      env: {},
      resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 4, stackSizeMb: 2 },
    });
    this.#worker.on('message', (message: FromWorker) => this.#receive(message));
    this.#worker.on('error', (error) => this.#end(this.#died(error)));
    this.#worker.on('exit', () => {
      this.#end(this.#died(undefined));
      this.#exited.resolve();
    });
  }

  /** The store's revision once it is open. */
  opened(): Promise<number> {
    return this.#opened.promise;
  }

  /** The last revision that was acknowledged here. */
  get known(): number {
    return this.#known;
  }

  async get(key: string): Promise<WireRecord | undefined> {
    const answer = await this.#ask({ type: 'get', id: this.#nextId(), key }, 'record');
    return answer.record;
  }

  async revision(): Promise<number> {
    return (await this.#ask({ type: 'revision', id: this.#nextId() }, 'revision')).revision;
  }

  async write(writes: readonly WireWrite[]): Promise<number> {
    try {
      const answer = await this.#ask({ type: 'write', id: this.#nextId(), writes }, 'revision');
      this.#noteWrite(undefined);
      return answer.revision;
    } catch (error) {
      if (error instanceof WirtError && error.code !== 'store.conflict') this.#noteWrite(error);
      throw error;
    }
  }

  list(prefix: string, after: string | undefined, limit: number | undefined): Promise<WireRecord[]> {
    const id = this.#nextId();
    const { promise, resolve, reject } = Promise.withResolvers<WireRecord[]>();
    const records: WireRecord[] = [];
    this.#send(
      { type: 'list', id, prefix, after, limit },
      {
        settle: (answer) => {
          if (answer.type !== 'records') return;
          for (const record of answer.records) records.push(record);
          if (!answer.more) resolve(records);
        },
        fail: reject,
      },
    );
    return promise;
  }

  /** The next changes behind `from`, however long that takes; undefined when `signal` aborts first. */
  changes(prefix: string, from: WatchPosition, signal: AbortSignal): Promise<ChangePage | undefined> {
    if (signal.aborted) return Promise.resolve(undefined);
    const id = this.#nextId();
    const { promise, resolve, reject } = Promise.withResolvers<ChangePage | undefined>();
    const onAbort = (): void => {
      this.#waiting.delete(id);
      this.#enqueue({ type: 'cancel', id });
      resolve(undefined);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    this.#send(
      { type: 'changes', id, prefix, from },
      {
        settle: (answer) => {
          signal.removeEventListener('abort', onAbort);
          if (answer.type === 'changes') resolve(answer.page);
        },
        fail: (error) => {
          signal.removeEventListener('abort', onAbort);
          reject(error);
        },
      },
    );
    return promise;
  }

  /** Finishes what is under way, closes the database and ends the worker. Watches end with `daemon.stopping`. */
  async close(): Promise<void> {
    if (!this.#ended) {
      this.#ended = new WirtError('daemon.stopping', `The store in ${this.#directory} is closed.`);
      if (this.#batchesUnderWay > 0 || this.#queue.length > 0) {
        await new Promise<void>((resolve) => {
          this.#idle = resolve;
        });
      }
      this.#worker.postMessage({ type: 'close' } satisfies ToWorker);
    }
    await this.#exited.promise;
  }

  #nextId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }

  /** Sends and waits for the answer of this type; a request has no other but `failed`. */
  #ask<T extends WireAnswer['type']>(
    request: WireRequest,
    type: T,
  ): Promise<Extract<WireAnswer, { type: T }>> {
    const { promise, resolve, reject } = Promise.withResolvers<Extract<WireAnswer, { type: T }>>();
    const isAwaited = (answer: WireAnswer): answer is Extract<WireAnswer, { type: T }> =>
      answer.type === type;
    this.#send(request, {
      settle: (answer) => {
        if (isAwaited(answer)) resolve(answer);
      },
      fail: reject,
    });
    return promise;
  }

  #send(request: WireRequest, waiting: Waiting): void {
    if (this.#ended) {
      waiting.fail(this.#ended);
      return;
    }
    this.#waiting.set(request.id, waiting);
    this.#enqueue(request);
  }

  #enqueue(request: WireRequest): void {
    this.#queue.push(request);
    if (this.#flushIsScheduled) return;
    this.#flushIsScheduled = true;
    // Alone: at once. Under load: behind all callers that the latest answers have woken, to make larger groups.
    if (this.#batchesUnderWay === 0) queueMicrotask(() => this.#flush());
    else setImmediate(() => this.#flush());
  }

  #flush(): void {
    this.#flushIsScheduled = false;
    while (this.#queue.length > 0 && this.#batchesUnderWay < BATCHES_UNDER_WAY) {
      const requests = this.#queue.splice(0, batchLength(this.#queue));
      this.#batchesUnderWay += 1;
      this.#worker.postMessage({ type: 'batch', requests } satisfies ToWorker);
    }
  }

  #receive(message: FromWorker): void {
    switch (message.type) {
      case 'opened':
        this.#known = message.revision;
        this.#opened.resolve(message.revision);
        return;
      case 'not-opened':
        this.#end(toError(message.failure));
        return;
      case 'answers':
        for (const answer of message.answers) this.#settle(answer);
        if (message.batchMs !== undefined) this.#batchDone(message.batchMs);
        return;
      case 'expiry-failed':
        this.#noteWrite(toError(message.failure));
        return;
      case 'closed':
        this.#failWaiting(this.#ended ?? this.#died(undefined));
        return;
    }
  }

  #settle(answer: WireAnswer): void {
    if (answer.type === 'revision') this.#known = Math.max(this.#known, answer.revision);
    const waiting = this.#waiting.get(answer.id);
    if (!waiting) return;
    if (answer.type !== 'records' || !answer.more) this.#waiting.delete(answer.id);
    if (answer.type === 'failed') waiting.fail(toError(answer.failure));
    else waiting.settle(answer);
  }

  #batchDone(batchMs: number): void {
    this.#batchesUnderWay -= 1;
    if (batchMs > SLOW_BATCH_MS) {
      this.#logger.warn('store.slow', { directory: this.#directory, batchMs: Math.round(batchMs) });
    }
    if (this.#queue.length > 0 && !this.#flushIsScheduled) {
      this.#flushIsScheduled = true;
      setImmediate(() => this.#flush());
    }
    if (this.#queue.length === 0 && this.#batchesUnderWay === 0) this.#idle?.();
  }

  /** Says once that the host refuses writes, and once that it takes them again. */
  #noteWrite(error: WirtError | undefined): void {
    if (this.#writesFail === (error !== undefined)) return;
    this.#writesFail = error !== undefined;
    if (error) this.#logger.error('store.write_failed', { directory: this.#directory, error });
    else this.#logger.info('store.write_recovered', { directory: this.#directory });
  }

  #died(cause: unknown): WirtError {
    return new WirtError('store.failed', `The worker of the store in ${this.#directory} has ended.`, {
      cause,
      hint: 'Restart wirtd; nothing that was acknowledged is lost, and running guests stay as they are.',
    });
  }

  #end(error: WirtError): void {
    if (!this.#ended && error.code === 'store.failed') {
      this.#logger.error('store.ended', { directory: this.#directory, error });
    }
    this.#ended ??= error;
    this.#opened.reject(this.#ended);
    this.#failWaiting(this.#ended);
    this.#queue = [];
    this.#idle?.();
  }

  #failWaiting(error: WirtError): void {
    const all = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const waiting of all) waiting.fail(error);
  }
}

/** How many requests from the front of the queue, at least one, go into one batch. */
function batchLength(queue: readonly WireRequest[]): number {
  let characters = 0;
  let length = 0;
  for (const request of queue) {
    if (length >= REQUESTS_PER_BATCH || characters > CHARACTERS_PER_BATCH) break;
    length += 1;
    if (request.type !== 'write') continue;
    for (const write of request.writes) characters += write.text?.length ?? 0;
  }
  return length;
}

function toError({ code, message, hint, cause, details }: WireFailure): WirtError {
  return new WirtError(code, message, {
    ...(cause === undefined ? {} : { cause: new Error(cause) }),
    ...(hint === undefined ? {} : { hint }),
    ...(details === undefined ? {} : { details }),
  });
}
