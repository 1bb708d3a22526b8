/**
 * Typed records of one kind over the store: a cache in memory that only ever holds what is durable, names kept unique by
 * an index key in the store, and changes of several records committed together. One daemon writes; it reads from the cache.
 */
import { WirtError } from '@wirt/api';
import { SortedIds } from '../domain/sorted-ids.ts';
import type { Json, Store, StoredRecord, Write } from '../ports/store.ts';

/** What every cached record has. */
export interface RecordHead {
  readonly id: string;
  readonly name: string;
  readonly project: string;
  readonly revision: number;
}

/** A change that takes effect in the cache when, and only when, it is durable. */
export interface Staged {
  readonly writes: readonly Write[];
  applied(revision: number): void;
}

/** Makes all the changes durable in one transaction, or none. Throws what the store throws. */
export async function commit(store: Store, staged: readonly Staged[]): Promise<void> {
  const writes = staged.flatMap((change) => change.writes);
  if (writes.length === 0) return;
  const revision = await store.write(writes);
  for (const change of staged) change.applied(revision);
}

/** Every record below `prefix`, in pages, so that no answer grows without bound. */
export async function* listAll(store: Store, prefix: string): AsyncIterable<StoredRecord> {
  const limit = 1000;
  let after: string | undefined;
  for (;;) {
    const page = await store.list(prefix, { limit, ...(after === undefined ? {} : { after }) });
    yield* page;
    after = page.at(-1)?.key;
    if (page.length < limit || after === undefined) return;
  }
}

/** What has records of its own, with names. */
export type RecordKind =
  | 'instance'
  | 'image'
  | 'volume'
  | 'pool'
  | 'snapshot'
  | 'network'
  | 'security-group'
  | 'policy'
  | 'device-pool';

export interface RecordsOptions<T> {
  readonly store: Store;
  readonly kind: RecordKind;
  /** Within what names are unique; the project without it. */
  readonly scopeOf?: (record: T) => string;
  /** Checks and completes what an earlier version may have written. */
  readonly parse: (value: unknown) => T;
}

export class Records<T extends RecordHead> {
  readonly #options: RecordsOptions<T>;
  readonly #byId = new Map<string, T>();
  readonly #ids = new SortedIds();
  readonly #idByName = new Map<string, string>();

  constructor(options: RecordsOptions<T>) {
    this.#options = options;
  }

  /** Fills the cache. Call once, before anything else. */
  async load(): Promise<void> {
    for await (const { value, revision } of listAll(this.#options.store, `${this.#options.kind}/`)) {
      this.#cache(this.#options.parse({ ...(value as { [key: string]: Json }), revision }));
    }
  }

  get(id: string): T | undefined {
    return this.#byId.get(id);
  }

  /** By id, or by name within the project. */
  find(ref: string, scope = 'default'): T | undefined {
    return this.#byId.get(ref) ?? this.#byId.get(this.#idByName.get(`${scope}/${ref}`) ?? '');
  }

  /** By id or name. Throws `instance.not_found`, `image.not_found`, … */
  require(ref: string, scope = 'default'): T {
    const record = this.find(ref, scope);
    if (record !== undefined) return record;
    const { kind } = this.#options;
    throw new WirtError(`${nounOf(kind)}.not_found`, `There is no ${said(kind)} ${JSON.stringify(ref)}.`, {
      hint: whereToLook[kind],
    });
  }

  /** In the order of ids, after the cursor. Must be read without awaiting in between. */
  *after(cursor?: string): Iterable<T> {
    for (const id of this.#ids.after(cursor)) {
      const record = this.#byId.get(id);
      if (record !== undefined) yield record;
    }
  }

  /** Creates (revision 0) or replaces the record, if it is still at its revision; moves its name in the index. */
  put(record: T): Staged {
    const { kind } = this.#options;
    const { revision, ...value } = record;
    const former = this.#byId.get(record.id);
    const writes: Write[] = [
      // Records are made of what their zod schema allows, which is JSON; the type says so only at run time.
      { type: 'put', key: `${kind}/${record.id}`, value: value as unknown as Json, ifRevision: revision },
    ];
    if (former?.name !== record.name) {
      writes.push({ type: 'put', key: this.#nameKey(record), value: record.id, ifRevision: 0 });
      if (former !== undefined) writes.push({ type: 'delete', key: this.#nameKey(former) });
    }
    return { writes, applied: (committed) => this.#cache({ ...record, revision: committed }) };
  }

  remove(record: T): Staged {
    return {
      writes: [
        { type: 'delete', key: `${this.#options.kind}/${record.id}`, ifRevision: record.revision },
        { type: 'delete', key: this.#nameKey(record) },
      ],
      applied: () => {
        this.#byId.delete(record.id);
        this.#ids.delete(record.id);
        this.#idByName.delete(this.#scoped(record));
      },
    };
  }

  #scoped(record: T): string {
    return `${this.#options.scopeOf?.(record) ?? record.project}/${record.name}`;
  }

  #nameKey(record: T): string {
    return `name/${this.#options.kind}/${this.#scoped(record)}`;
  }

  #cache(record: T): void {
    const former = this.#byId.get(record.id);
    if (former !== undefined && former.name !== record.name) this.#idByName.delete(this.#scoped(former));
    this.#byId.set(record.id, record);
    this.#ids.add(record.id);
    this.#idByName.set(this.#scoped(record), record.id);
  }
}

/** How the error catalogue calls it. */
function nounOf<K extends RecordKind>(
  kind: K,
): K extends 'security-group' ? 'group' : K extends 'device-pool' ? 'pool' : K;
function nounOf(kind: RecordKind): string {
  if (kind === 'device-pool') return 'pool';
  return kind === 'security-group' ? 'group' : kind;
}

function said(kind: RecordKind): string {
  return kind.replace('-', ' ');
}

const whereToLook = {
  instance: 'See `wirt ls`.',
  image: 'See `wirt image ls`; build one with `wirt image build micro`.',
  volume: 'See `wirt volume ls`.',
  pool: 'See `wirt pool ls`.',
  snapshot: 'See `wirt snapshot ls INSTANCE`.',
  network: 'See `wirt network ls`.',
  'security-group': 'See `wirt security-group ls`.',
  policy: 'See `wirt policy ls`.',
  'device-pool':
    'See `wirt host device ls`; make one with `wirt host device create-vfs ADDRESS --count N --pool NAME`.',
} as const satisfies Record<RecordKind, string>;

/** The refusal of a name that another has. */
export function nameTaken(kind: RecordKind, name: string): WirtError {
  const remove = {
    instance: `wirt rm ${name}`,
    image: `wirt image rm ${name}`,
    volume: `wirt volume rm ${name}`,
    pool: `wirt pool rm ${name}`,
    snapshot: `wirt snapshot rm INSTANCE ${name}`,
    network: `wirt network rm ${name}`,
    'security-group': `wirt security-group rm ${name}`,
    policy: `wirt policy rm ${name}`,
    'device-pool': 'wirt host device remove-vfs ADDRESS',
  } as const satisfies Record<RecordKind, string>;
  return new WirtError(`${nounOf(kind)}.name_taken`, `There is another ${said(kind)} named ${name}.`, {
    hint: `Choose another name, or remove it: \`${remove[kind]}\`.`,
  });
}

/** Says that a name is taken, when that is what made the store refuse; gives back any other error as it is. */
export function nameConflict(error: unknown, kind: RecordKind): unknown {
  const key =
    error instanceof WirtError && error.code === 'store.conflict' ? error.details?.['key'] : undefined;
  const prefix = `name/${kind}/`;
  if (typeof key !== 'string' || !key.startsWith(prefix)) return error;
  return nameTaken(kind, key.slice(key.lastIndexOf('/') + 1));
}
