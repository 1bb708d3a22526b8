/**
 * Runs operations: makes the record durable before it is acknowledged, queues the work in its target's lane, keeps
 * progress, and ends the record together with the last change of the work. An end is shown when it is durable, and waits for room in the
 * store where there is none. What a crash leaves is for recovery.
 */
import { type Operation, type OperationKind, toProblem, WirtError } from '@wirt/api';
import { monotonicFactory } from 'ulid';
import type { Lanes } from '../domain/lanes.ts';
import type { Clock } from '../ports/clock.ts';
import type { BuildProgress } from '../ports/image-builder.ts';
import type { Logger } from '../ports/logger.ts';
import type { Json, Store } from '../ports/store.ts';
import type { Request } from './actions.ts';
import type { LateWrites } from './late-writes.ts';
import { createRate, type Rate } from './rate.ts';
import { commit, listAll, type Staged } from './records.ts';

/** The stage of an operation whose end, or whose undoing, cannot be stored yet. */
const waitingForRoom = 'waiting-for-room';
/** How long ended operations and idempotency keys are kept. */
const keptMs = 24 * 3_600_000;
/** Progress is written no more often than this; readers in this daemon see it at once. */
const progressMs = 300;

/** A running operation, in the hands of its work. */
export interface Progress {
  readonly id: string;
  readonly input: Operation['input'];
  /** Whether an earlier daemon began it: what the work finds may be its own. */
  readonly recovering: boolean;
  /** Aborts when the operation is cancelled or the daemon stops. */
  readonly signal: AbortSignal;
  stage(name: string, progress?: Omit<BuildProgress, 'stage'>): void;
  /**
   * Ends the operation well, together with the work's last changes. Called inside the scope of the work's undo, so that
   * work which cannot be recorded is undone. Waits for room in the store, unless it is cancelled meanwhile. Work that returns without it
   * ends well with no change of its own.
   */
  complete(changes: readonly Staged[], result?: Operation['result']): Promise<void>;
  /** Makes durable what has come about although the work goes on or fails. Waits for room in the store, cancelled or not. */
  record(changes: readonly Staged[]): Promise<void>;
}

export type Work = (progress: Progress) => Promise<void>;

export interface OperationStart {
  readonly kind: OperationKind;
  readonly project: string;
  readonly target: Operation['target'];
  readonly input: Operation['input'];
  readonly cancellable: boolean;
  /** Whose lane it runs in, asked again when its turn has come; the target's own without it. */
  readonly lane?: () => string;
  /** Changes that are acknowledged together with the operation. */
  readonly staged: readonly Staged[];
  readonly work: Work;
}

interface Active {
  record: Operation;
  readonly ended: Promise<Operation>;
  readonly abort: AbortController;
  /** Resolves when what it has done cannot be stored for want of room. */
  readonly outOfRoom: PromiseWithResolvers<WirtError>;
  writtenAtMs: number;
  readonly rate: Rate;
}

interface IdempotencyRecord {
  readonly fingerprint: string;
  readonly operation: string;
}

export interface RunnerParts {
  readonly store: Store;
  readonly late: LateWrites;
  readonly lanes: Lanes;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class OperationRunner {
  readonly #parts: RunnerParts;
  readonly #active = new Map<string, Active>();
  readonly newId = monotonicFactory();
  #stopping = false;

  constructor(parts: RunnerParts) {
    this.#parts = parts;
  }

  /** Operations that have not ended, by id. */
  active(): Operation[] {
    return [...this.#active.values()].map(({ record }) => record);
  }

  /** Starts an operation, or answers with the first one for the same idempotency key. Durable when it returns. */
  async start(request: Request, start: OperationStart): Promise<Operation> {
    if (this.#stopping) throw new WirtError('daemon.stopping', 'wirtd is stopping and takes no new work.');
    const earlier = await this.earlier(request);
    if (earlier !== undefined) return earlier;
    const record: Operation = {
      id: this.newId(),
      kind: start.kind,
      project: start.project,
      target: start.target,
      state: this.#parts.lanes.busy(start.lane?.() ?? start.target.id) ? 'queued' : 'running',
      stage: 'accepted',
      cancellable: start.cancellable,
      requestedBy: request.caller,
      input: start.input,
      createdAt: this.#parts.clock.now(),
      revision: 0,
    };
    const key = request.idempotency;
    const idempotency: Staged = {
      writes:
        key === undefined
          ? []
          : [
              {
                type: 'put',
                key: `idempotency/${key.key}`,
                value: { fingerprint: key.fingerprint, operation: record.id },
                ifRevision: 0,
                ttlMs: keptMs,
              },
            ],
      applied: () => undefined,
    };
    let revision = 0;
    const acknowledged = (committed: number): void => {
      revision = committed;
    };
    try {
      await commit(this.#parts.store, [...start.staged, staged(record, 0, acknowledged), idempotency]);
    } catch (error) {
      // Two requests with one key at the same time: the store let the first through, and the second answers as it.
      const first = isConflictOn(error, 'idempotency/') ? await this.earlier(request) : undefined;
      if (first !== undefined) return first;
      throw error;
    }
    return this.#run({ ...record, revision }, start.work, start.lane);
  }

  /** Takes up an operation that an earlier daemon left unended. */
  resume(record: Operation, work: Work, lane?: () => string): Operation {
    return this.#run({ ...record, recovery: 'resumed' }, work, lane);
  }

  /** Ends an operation that an earlier daemon left, without running it. Returns also when that has to wait for room in the store. */
  async settle(
    record: Operation,
    end: Pick<Operation, 'state' | 'recovery' | 'error'>,
    changes: readonly Staged[] = [],
  ): Promise<void> {
    const ended: Operation = { ...record, ...end, cancellable: false, finishedAt: this.#parts.clock.now() };
    await this.#parts.late.begin(
      () => commit(this.#parts.store, [...changes, staged(ended)]),
      (error) => {
        this.#parts.logger.error('operation.end_not_stored', { operation: record.id, error });
      },
    );
  }

  #run(first: Operation, work: Work, lane = () => first.target.id): Operation {
    const abort = new AbortController();
    const ended = this.#parts.lanes.follow(lane, () => this.#work(first.id, work, abort.signal));
    this.#active.set(first.id, {
      record: first,
      ended,
      abort,
      outOfRoom: Promise.withResolvers(),
      writtenAtMs: this.#parts.clock.monotonicMs(),
      rate: createRate(),
    });
    return first;
  }

  async #work(id: string, work: Work, signal: AbortSignal): Promise<Operation> {
    const active = this.#active.get(id);
    if (active === undefined) throw new WirtError('internal', `Operation ${id} ran without being active.`);
    active.record = { ...active.record, state: 'running' };
    const progress: Progress = {
      id,
      input: active.record.input,
      recovering: active.record.recovery !== undefined,
      signal,
      stage: (name, counted) => this.#stage(active, name, counted),
      complete: (changes, result) => {
        const end = { state: 'done', stage: 'done', ...(result === undefined ? {} : { result }) } as const;
        return this.#end(active, end, changes, signal);
      },
      record: (changes) => this.#late(active, changes),
    };
    let ended: Operation | undefined;
    try {
      signal.throwIfAborted();
      await work(progress);
      if (active.record.state === 'running') await progress.complete([]);
    } catch (error) {
      // What was to be tidied up after the end does not make it another end.
      if (active.record.finishedAt !== undefined)
        this.#parts.logger.warn('operation.not_tidied_up', { operation: id, error });
      else ended = await this.#endBadly(active, error);
    }
    ended ??= active.record;
    this.#active.delete(id);
    const { kind, target, state } = ended;
    this.#parts.logger.info('operation.ended', { operation: id, kind, target: target.id, state });
    return ended;
  }

  async #end(
    active: Active,
    end: Partial<Operation>,
    changes: readonly Staged[],
    signal?: AbortSignal,
  ): Promise<void> {
    const record = this.#ended(active.record, end);
    const last = staged(record, undefined, (revision) => {
      active.record = { ...record, revision };
    });
    await this.#late(active, [...changes, last], signal);
  }

  /** While it waits, the operation is shown as running, and those who wait for it are told why. */
  async #late(active: Active, changes: readonly Staged[], signal?: AbortSignal): Promise<void> {
    const { stage } = active.record;
    const onWait = (refusal: WirtError): void => {
      active.record = { ...active.record, stage: waitingForRoom };
      active.outOfRoom.resolve(refusal);
      const { id } = active.record;
      this.#parts.logger.warn('operation.waits_for_room', { operation: id, error: refusal });
    };
    // What was aborted in vain, and is done all the same, waits like any other.
    const cancellable = signal === undefined || signal.aborted ? {} : { signal };
    await this.#parts.late.commit(changes, { onWait, ...cancellable }).finally(() => {
      if (active.record.stage === waitingForRoom) active.record = { ...active.record, stage };
    });
  }

  /** Gives back what those who wait for it are told. */
  async #endBadly(active: Active, error: unknown): Promise<Operation> {
    const end = this.#failed(active.record, error);
    // While the daemon stops, an aborted operation is left as it is: the next daemon finishes or undoes it.
    if (this.#stopping && active.abort.signal.aborted) return this.#ended(active.record, end);
    try {
      await this.#end(active, end, []);
      return active.record;
    } catch (storeError) {
      this.#parts.logger.error('operation.end_not_stored', {
        operation: active.record.id,
        error: storeError,
      });
      return this.#ended(active.record, end);
    }
  }

  #failed(record: Operation, error: unknown): Pick<Operation, 'state' | 'error'> {
    const cancelled = error instanceof WirtError && error.code === 'operation.cancelled';
    if (!(error instanceof WirtError))
      this.#parts.logger.error('operation.defect', { operation: record.id, error });
    return { state: cancelled ? 'cancelled' : 'failed', error: toProblem(error) };
  }

  #ended(record: Operation, end: Partial<Operation>): Operation {
    return { ...record, ...end, cancellable: false, finishedAt: this.#parts.clock.now() };
  }

  #stage(active: Active, name: string, counted: Omit<BuildProgress, 'stage'> | undefined): void {
    const nowMs = this.#parts.clock.monotonicMs();
    const { progress: _, ...record } = active.record;
    active.record = {
      ...record,
      stage: name,
      ...(counted === undefined ? {} : { progress: active.rate(name, counted, nowMs) }),
    };
    if (nowMs - active.writtenAtMs < progressMs) return;
    active.writtenAtMs = nowMs;
    commit(this.#parts.store, [staged(active.record)]).catch((error: unknown) => {
      this.#parts.logger.warn('operation.progress_not_stored', { operation: active.record.id, error });
    });
  }

  /** The operation as it is now. Throws `operation.not_found`. */
  async get(id: string): Promise<Operation> {
    const active = this.#active.get(id);
    if (active !== undefined) return active.record;
    const stored = await this.#parts.store.get(`operation/${id}`);
    if (stored !== undefined) return fromStore(stored.value, stored.revision);
    throw new WirtError('operation.not_found', `There is no operation ${id}.`, {
      hint: 'Ended operations are kept for a day: see `wirt operation ls`.',
    });
  }

  /** Resolves with the operation when it has ended, at once when it already has. */
  async ended(id: string): Promise<Operation> {
    const active = this.#active.get(id);
    return active === undefined ? this.get(id) : active.ended;
  }

  /** Resolves with the refusal when what the operation has done waits for room in the store; never, when it need not. */
  outOfRoom(id: string): Promise<WirtError> {
    return this.#active.get(id)?.outOfRoom.promise ?? new Promise(() => undefined);
  }

  /** Asks an operation to stop; what it has done is undone by its own work. */
  async cancel(id: string): Promise<Operation> {
    const active = this.#active.get(id);
    const record = active?.record ?? (await this.get(id));
    if (active === undefined || !record.cancellable) {
      const why = active === undefined ? `it is ${record.state}` : `${record.kind} cannot be cancelled`;
      throw new WirtError('operation.not_cancellable', `Operation ${id} was not cancelled: ${why}.`);
    }
    active.abort.abort(
      new WirtError('operation.cancelled', `Operation ${id} (${record.kind}) was cancelled.`),
    );
    return record;
  }

  /** Aborts what can be aborted, and waits until nothing runs or `signal` aborts. */
  async stop(signal: AbortSignal): Promise<void> {
    this.#stopping = true;
    const stopping = new WirtError('daemon.stopping', 'wirtd is stopping.');
    const all = [...this.#active.values()];
    // What only waits for room is done, and must not be undone.
    for (const { abort, record } of all) if (record.stage !== waitingForRoom) abort.abort(stopping);
    const deadline = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener('abort', () => resolve(), { once: true });
    });
    await Promise.race([Promise.allSettled(all.map(({ ended }) => ended)), deadline]);
  }

  /**
   * The operation that the request's idempotency key has started before, if it has. Asked before anything is checked, since
   * what a request has brought about would refuse its repetition. Throws `request.idempotency_conflict`.
   */
  async earlier(request: Request): Promise<Operation | undefined> {
    const key = request.idempotency;
    if (key === undefined) return undefined;
    const found = await this.#parts.store.get(`idempotency/${key.key}`);
    if (found === undefined) return undefined;
    // Only `start` above writes these keys, in this shape.
    const { fingerprint, operation } = found.value as unknown as IdempotencyRecord;
    if (fingerprint === key.fingerprint) return this.get(operation);
    throw new WirtError(
      'request.idempotency_conflict',
      `Idempotency-Key ${JSON.stringify(key.key)} belongs to another request.`,
      {
        hint: 'Use a new key for a new request.',
        details: { operation },
      },
    );
  }
}

/** Whether the end of the daemon interrupts the work: the next daemon goes on with it, and needs what is there. */
export function isStopping({ signal }: Pick<Progress, 'signal'>): boolean {
  const reason: unknown = signal.reason;
  return signal.aborted && reason instanceof WirtError && reason.code === 'daemon.stopping';
}

function isConflictOn(error: unknown, prefix: string): boolean {
  const key =
    error instanceof WirtError && error.code === 'store.conflict' ? error.details?.['key'] : undefined;
  return typeof key === 'string' && key.startsWith(prefix);
}

/** Ended operations expire by themselves. */
function staged(
  record: Operation,
  ifRevision?: number,
  applied: Staged['applied'] = () => undefined,
): Staged {
  const { revision: _, ...value } = record;
  const write = {
    type: 'put',
    key: `operation/${record.id}`,
    // Made of what the operation's schema allows, which is JSON.
    value: value as unknown as Json,
    ...(record.finishedAt === undefined ? {} : { ttlMs: keptMs }),
    ...(ifRevision === undefined ? {} : { ifRevision }),
  } as const;
  return { writes: [write], applied };
}

/** What the store holds of an operation, as the record. */
export function fromStore(value: Json, revision: number): Operation {
  // Only `staged` above writes these keys.
  return { ...(value as unknown as Operation), revision };
}

/** Operations that an earlier daemon left unended. */
export async function openOperations(store: Store): Promise<Operation[]> {
  const open: Operation[] = [];
  for await (const { value, revision } of listAll(store, 'operation/')) {
    const operation = fromStore(value, revision);
    if (operation.state === 'queued' || operation.state === 'running') open.push(operation);
  }
  return open;
}
