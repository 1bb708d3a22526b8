/**
 * The worker thread of the SQLite store: takes batches of requests, answers the reads, puts all writes of a batch on
 * disk with one COMMIT, and only then answers them. Deletes records whose time is up. Keeps fsync off the event loop.
 */
import { performance } from 'node:perf_hooks';
import type { DatabaseSync } from 'node:sqlite';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { closeDatabase, openDatabase } from './database.ts';
import { type Commit, Engine } from './engine.ts';
import { failureOf } from './failure.ts';
import { createParkedWatches, type ParkedWatches } from './parked-watches.ts';
import type {
  FromWorker,
  ToWorker,
  WireAnswer,
  WireFailure,
  WireRecord,
  WireRequest,
  WorkerSettings,
} from './protocol.ts';

/** Records of one message: bounds what the worker holds of a long list. */
const RECORDS_PER_ANSWER = 500;
const EXPIRY_RETRY_MS = 1_000;
const MAX_TIMER_MS = 2 ** 31 - 1;

type Post = (message: FromWorker) => void;

/** Answers everything but writes. Reads of a batch come before its writes: no read sees what is not durable. */
function answerRead(
  request: Exclude<WireRequest, { type: 'write' }>,
  engine: Engine,
  parked: ParkedWatches,
  post: Post,
): WireAnswer | undefined {
  const { id } = request;
  switch (request.type) {
    case 'get':
      return { id, type: 'record', record: engine.get(request.key) };
    case 'revision':
      return { id, type: 'revision', revision: engine.revision() };
    case 'list': {
      let records: WireRecord[] = [];
      for (const record of engine.list(request.prefix, request.after, request.limit)) {
        if (records.length >= RECORDS_PER_ANSWER) {
          const answer = { id, type: 'records', records, more: true } as const;
          post({ type: 'answers', answers: [answer], batchMs: undefined });
          records = [];
        }
        records.push(record);
      }
      return { id, type: 'records', records, more: false };
    }
    case 'changes': {
      const page = engine.changes(request.prefix, request.from);
      if ('code' in page) return { id, type: 'failed', failure: page };
      if (page.changes.length > 0) return { id, type: 'changes', page };
      parked.park(id, request.prefix);
      return undefined;
    }
    case 'cancel':
      parked.forget(id);
      return undefined;
  }
}

function createBatchRunner(engine: Engine, parked: ParkedWatches, directory: string, post: Post) {
  return (requests: readonly WireRequest[]): void => {
    const startedMs = performance.now();
    const answers: WireAnswer[] = [];
    const writes: Extract<WireRequest, { type: 'write' }>[] = [];
    for (const request of requests) {
      if (request.type === 'write') {
        writes.push(request);
        continue;
      }
      try {
        const answer = answerRead(request, engine, parked, post);
        if (answer) answers.push(answer);
      } catch (error) {
        const failure = failureOf(error, 'read from the store', directory);
        answers.push({ id: request.id, type: 'failed', failure });
      }
    }
    if (writes.length > 0) {
      const { results, changes } = engine.commit(writes.map((request) => request.writes));
      writes.forEach(({ id }, index) => {
        const result = results[index];
        if (result?.type === 'committed') answers.push({ id, type: 'revision', revision: result.revision });
        else if (result) answers.push({ id, type: 'failed', failure: result.failure });
      });
      answers.push(...parked.answersTo(changes));
    }
    post({ type: 'answers', answers, batchMs: performance.now() - startedMs });
  };
}

/** One timer for the record that expires next. */
function createExpiry(engine: Engine, onExpired: (commit: Commit) => void) {
  let timer: NodeJS.Timeout | undefined;
  const arm = (minimumMs = 0): void => {
    const inMs = engine.nextExpiryMs();
    clearTimeout(timer);
    timer = undefined;
    if (inMs !== undefined) timer = setTimeout(run, Math.min(Math.max(inMs, minimumMs), MAX_TIMER_MS));
  };
  const run = (): void => {
    const commit = engine.expire();
    onExpired(commit);
    arm(commit.results.some((result) => result.type === 'failed') ? EXPIRY_RETRY_MS : 0);
  };
  return { arm, stop: (): void => clearTimeout(timer) };
}

type OpenedEngine =
  | { readonly type: 'opened'; readonly engine: Engine; readonly database: DatabaseSync }
  | { readonly type: 'failed'; readonly failure: WireFailure };

function openEngine(directory: string, keepChanges: number): OpenedEngine {
  const opened = openDatabase(directory);
  if (opened.type === 'failed') return opened;
  const { database } = opened;
  const clock = { wallMs: () => Date.now(), monotonicMs: () => performance.now() };
  try {
    return { type: 'opened', engine: new Engine({ database, directory, keepChanges, clock }), database };
  } catch (error) {
    // Damage that shows only when the first rows are read.
    const failure = failureOf(error, 'open the store', directory);
    closeDatabase(database, directory);
    return { type: 'failed', failure };
  }
}

function serve(port: MessagePort, { directory, keepChanges }: WorkerSettings): void {
  const post: Post = (message) => port.postMessage(message);
  const opened = openEngine(directory, keepChanges);
  if (opened.type === 'failed') {
    post({ type: 'not-opened', failure: opened.failure });
    return;
  }
  const { engine, database } = opened;
  const parked = createParkedWatches();
  const runBatch = createBatchRunner(engine, parked, directory, post);
  const expiry = createExpiry(engine, ({ results, changes }) => {
    const answers = parked.answersTo(changes);
    if (answers.length > 0) post({ type: 'answers', answers, batchMs: undefined });
    for (const result of results) {
      if (result.type === 'failed') post({ type: 'expiry-failed', failure: result.failure });
    }
  });
  port.on('message', (message: ToWorker) => {
    if (message.type === 'close') {
      expiry.stop();
      closeDatabase(database, directory);
      post({ type: 'closed' });
      port.close();
      return;
    }
    runBatch(message.requests);
    if (message.requests.some(hasTtl)) expiry.arm();
  });
  expiry.arm();
  post({ type: 'opened', revision: engine.revision() });
}

function hasTtl(request: WireRequest): boolean {
  return request.type === 'write' && request.writes.some((write) => write.ttlMs !== undefined);
}

// `workerData` is what the main-thread half of this driver passes; nobody else starts this file.
if (parentPort) serve(parentPort, workerData as WorkerSettings);
