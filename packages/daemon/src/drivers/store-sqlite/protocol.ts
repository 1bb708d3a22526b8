/**
 * What the store's main-thread half and its worker say to each other. Values cross as JSON text, so that the worker
 * never parses them. Types only.
 */
import type { ErrorCode } from '@wirt/api';

export interface WireWrite {
  readonly key: string;
  /** JSON text; undefined deletes. */
  readonly text: string | undefined;
  readonly ifRevision: number | undefined;
  readonly ttlMs: number | undefined;
}

export interface WireRecord {
  readonly key: string;
  readonly text: string;
  readonly revision: number;
}

export interface WireChange {
  /** Place in the order of all changes, without gaps. */
  readonly seq: number;
  readonly revision: number;
  readonly atMs: number;
  readonly key: string;
  readonly text: string | undefined;
  readonly previousText: string | undefined;
}

/**
 * Where a watch stands: behind a revision (its start), behind a change (its next page), or at the present, which is
 * behind the last revision that the main thread knew of: what is written meanwhile is news there.
 */
export type WatchPosition =
  | { readonly type: 'now'; readonly known: number }
  | { readonly type: 'revision'; readonly revision: number }
  | { readonly type: 'seq'; readonly seq: number };

export interface ChangePage {
  readonly changes: readonly WireChange[];
  /** The position behind this page. */
  readonly seq: number;
}

export type WireRequest =
  | { readonly type: 'get'; readonly id: number; readonly key: string }
  | {
      readonly type: 'list';
      readonly id: number;
      readonly prefix: string;
      readonly after: string | undefined;
      readonly limit: number | undefined;
    }
  | { readonly type: 'revision'; readonly id: number }
  | { readonly type: 'write'; readonly id: number; readonly writes: readonly WireWrite[] }
  /** Answered when there is at least one change behind `from`; until then it is parked. */
  | { readonly type: 'changes'; readonly id: number; readonly prefix: string; readonly from: WatchPosition }
  /** Forgets a parked request; it has no answer of its own. */
  | { readonly type: 'cancel'; readonly id: number };

/** An error as plain data: the worker loads neither the catalogue nor its class, which keeps it small. */
export interface WireFailure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string | undefined;
  readonly cause: string | undefined;
  readonly details: Readonly<Record<string, string | number>> | undefined;
}

export type WireAnswer =
  | { readonly id: number; readonly type: 'record'; readonly record: WireRecord | undefined }
  /** `more`: further records of the same answer follow. */
  | {
      readonly id: number;
      readonly type: 'records';
      readonly records: readonly WireRecord[];
      readonly more: boolean;
    }
  | { readonly id: number; readonly type: 'revision'; readonly revision: number }
  | { readonly id: number; readonly type: 'changes'; readonly page: ChangePage }
  | { readonly id: number; readonly type: 'failed'; readonly failure: WireFailure };

/** To the worker. One batch is one transaction on disk. */
export type ToWorker =
  | { readonly type: 'batch'; readonly requests: readonly WireRequest[] }
  | { readonly type: 'close' };

export type FromWorker =
  | { readonly type: 'opened'; readonly revision: number }
  | { readonly type: 'not-opened'; readonly failure: WireFailure }
  /** `batchMs` is set on the last answers of a batch: how long the worker took for it. */
  | {
      readonly type: 'answers';
      readonly answers: readonly WireAnswer[];
      readonly batchMs: number | undefined;
    }
  /** Records whose time was up could not be deleted; tried again. */
  | { readonly type: 'expiry-failed'; readonly failure: WireFailure }
  | { readonly type: 'closed' };

export interface WorkerSettings {
  readonly directory: string;
  readonly keepChanges: number;
}
