/**
 * The seam: every use case of Wirt. REST, later EC2, and internal jobs all enter here and nowhere else; each action
 * does its own authorisation, takes the lane of its target, and leaves an operation where it takes longer than a moment.
 */
import type {
  Event,
  EventQuery,
  Exec,
  ExecResult,
  Host,
  HostCheck,
  Image,
  ImageBuild,
  Instance,
  InstanceCreate,
  InstanceListQuery,
  InstanceStart,
  InstanceStop,
  InstanceUpdate,
  Isolation,
  Operation,
  OperationListQuery,
  WaitQuery,
} from '@wirt/api';
import type { Console } from '../ports/hypervisor.ts';

export interface Page<T> {
  readonly items: T[];
  readonly next?: string;
}

/** Who asks, and under which conditions. `signal` ends only the waiting of the asker, never the work. */
export interface Request {
  /** `socket` for the local administrator, or the name of an internal job. */
  readonly caller: string;
  readonly signal: AbortSignal;
  /** Same key and same `fingerprint`: the first operation is answered again. Another fingerprint: `request.idempotency_conflict`. */
  readonly idempotency?: { readonly key: string; readonly fingerprint: string };
  /** From If-Match: fail with `request.revision_mismatch` when the record has another revision. */
  readonly ifRevision?: number;
}

export interface InstanceActions {
  list(query: InstanceListQuery): Promise<Page<Instance>>;
  /** By id, or by name in the default project. */
  get(ref: string): Promise<Instance>;
  create(request: Request, input: InstanceCreate, wait: WaitQuery): Promise<Operation>;
  update(request: Request, ref: string, input: InstanceUpdate): Promise<Instance>;
  start(request: Request, ref: string, input: InstanceStart, wait: WaitQuery): Promise<Operation>;
  stop(request: Request, ref: string, input: InstanceStop, wait: WaitQuery): Promise<Operation>;
  restart(request: Request, ref: string, input: InstanceStop, wait: WaitQuery): Promise<Operation>;
  remove(
    request: Request,
    ref: string,
    input: { readonly force: boolean },
    wait: WaitQuery,
  ): Promise<Operation>;
  reset(request: Request, ref: string): Promise<Instance>;
  pause(request: Request, ref: string): Promise<Instance>;
  resume(request: Request, ref: string): Promise<Instance>;
  isolation(request: Request, ref: string): Promise<Isolation>;
}

export interface GuestActions {
  console(request: Request, ref: string): Promise<Console>;
  logs(request: Request, ref: string, source: 'console' | 'qemu'): Promise<AsyncIterable<Uint8Array>>;
  exec(request: Request, ref: string, input: Exec): Promise<ExecResult>;
  readFile(request: Request, ref: string, path: string): Promise<AsyncIterable<Uint8Array>>;
  writeFile(request: Request, ref: string, path: string, content: AsyncIterable<Uint8Array>): Promise<void>;
}

export interface ImageActions {
  list(query: { readonly cursor?: string | undefined; readonly limit: number }): Promise<Page<Image>>;
  get(ref: string): Promise<Image>;
  build(request: Request, input: ImageBuild, wait: WaitQuery): Promise<Operation>;
  remove(request: Request, ref: string): Promise<void>;
}

export interface OperationActions {
  list(query: OperationListQuery): Promise<Page<Operation>>;
  /** Answers when the operation has ended or `waitSeconds` are over. */
  get(request: Request, id: string, waitSeconds: number): Promise<Operation>;
  cancel(request: Request, id: string): Promise<Operation>;
}

export interface EventActions {
  /** Throws `event.compacted` at the first `next`. */
  stream(request: Request, query: EventQuery): AsyncIterable<Event>;
}

export interface HostActions {
  inspect(request: Request): Promise<Host>;
  check(request: Request): Promise<HostCheck>;
}

export interface Actions {
  readonly instance: InstanceActions;
  readonly guest: GuestActions;
  readonly image: ImageActions;
  readonly operation: OperationActions;
  readonly event: EventActions;
  readonly host: HostActions;
}
