// What every Store must do. A driver runs this against itself and adds what only it can be made to suffer: power loss,
// a second opener, a full disk.
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Change, Json, Store, StoredRecord, Write } from './store.ts';

export interface StoreUnderTest {
  /** Opens the store, empty at first; later calls, after the first was closed, find what it has acknowledged. */
  open(options?: { readonly keepChanges?: number }): Promise<Store>;
  /** Removes everything. */
  destroy(): Promise<void>;
}

const DEADLINE_MS = 10_000;

/** The first `count` changes; fails at the deadline. */
export async function takeChanges(watch: AsyncIterable<Change>, count: number): Promise<Change[]> {
  const changes: Change[] = [];
  if (count === 0) return changes;
  for await (const change of watch) {
    changes.push(change);
    if (changes.length === count) return changes;
  }
  throw new Error(`the watch ended after ${changes.length} of ${count} changes`);
}

export function storeContract(name: string, make: () => Promise<StoreUnderTest>): void {
  describe(`${name} as Store`, () => {
    let under: StoreUnderTest;
    let store: Store;
    let deadline: AbortSignal;

    beforeEach(async () => {
      under = await make();
      store = await under.open();
      deadline = AbortSignal.timeout(DEADLINE_MS);
    });

    afterEach(async () => {
      await store[Symbol.asyncDispose]();
      await under.destroy();
    });

    const reopen = async (options?: { readonly keepChanges?: number }): Promise<void> => {
      await store[Symbol.asyncDispose]();
      store = await under.open(options);
    };
    const put = (key: string, value: Json, extra: { ifRevision?: number; ttlMs?: number } = {}) =>
      store.write([{ type: 'put', key, value, ...extra }]);
    const remove = (key: string, extra: { ifRevision?: number } = {}) =>
      store.write([{ type: 'delete', key, ...extra }]);
    const keys = (records: readonly StoredRecord[]): string[] => records.map((record) => record.key);

    describe('records', () => {
      it('is empty at revision 0 at first', async () => {
        expect(await store.revision()).toBe(0);
        expect(await store.get('a')).toBeUndefined();
        expect(await store.list('')).toEqual([]);
      });

      it('hands back what was put, with the revision of the write', async () => {
        const revision = await put('a', { n: 1, list: [null, 'ü', true] });
        expect(await store.get('a')).toEqual({
          key: 'a',
          value: { n: 1, list: [null, 'ü', true] },
          revision,
        });
      });

      it('keeps no tie to the value that was put or handed out', async () => {
        const value = { n: 1 };
        const written = put('a', value);
        value.n = 2;
        await written;
        const first = await store.get('a');
        expect(first?.value).toEqual({ n: 1 });
        expect((await store.get('a'))?.value).not.toBe(first?.value);
      });

      it('gives every transaction the next revision, and all its records the same', async () => {
        const first = await put('a', 1);
        const second = await store.write([
          { type: 'put', key: 'a', value: 2 },
          { type: 'put', key: 'b', value: 3 },
        ]);
        expect([first, second, await store.revision()]).toEqual([1, 2, 2]);
        expect((await store.list('')).map((record) => record.revision)).toEqual([2, 2]);
      });

      it('changes nothing when what is deleted does not exist', async () => {
        const before = await put('a', 1);
        expect(await remove('b')).toBe(before);
        expect(await store.write([])).toBe(before);
      });

      it('refuses a transaction that writes a record twice', async () => {
        const twice: Write[] = [
          { type: 'put', key: 'a', value: 1 },
          { type: 'delete', key: 'a' },
        ];
        await expect(store.write(twice)).rejects.toMatchObject({ code: 'internal' });
        expect(await store.revision()).toBe(0);
      });

      it('lists by prefix, in the order of keys, in pages', async () => {
        for (const key of ['b/2', 'a/1', 'b/10', 'b', 'c', 'b/1', 'b0', 'b/']) await put(key, key);
        expect(keys(await store.list('b/'))).toEqual(['b/', 'b/1', 'b/10', 'b/2']);
        expect(keys(await store.list('b/', { limit: 2 }))).toEqual(['b/', 'b/1']);
        expect(keys(await store.list('b/', { after: 'b/1', limit: 2 }))).toEqual(['b/10', 'b/2']);
        expect(keys(await store.list('b/', { after: 'b/11' }))).toEqual(['b/2']);
        expect(keys(await store.list('b/', { after: 'a' }))).toEqual(['b/', 'b/1', 'b/10', 'b/2']);
        expect(keys(await store.list('b/', { after: 'z' }))).toEqual([]);
        expect(keys(await store.list('', { limit: 1 }))).toEqual(['a/1']);
      });

      it('lists more than fits in one message, whole and in order', async () => {
        const writes = Array.from({ length: 3_000 }, (_, n): Write => {
          return { type: 'put', key: `n/${String(n).padStart(5, '0')}`, value: { n, text: 'x'.repeat(500) } };
        });
        await store.write(writes);
        const records = await store.list('n/');
        expect(keys(records)).toEqual(writes.map((write) => write.key));
        expect(records.at(-1)?.value).toEqual({ n: 2_999, text: 'x'.repeat(500) });
      });

      it('has everything again after it was closed and opened', async () => {
        await put('a', { kept: true });
        await put('b', 1);
        await remove('b');
        await reopen();
        expect(await store.list('')).toEqual([{ key: 'a', value: { kept: true }, revision: 1 }]);
        expect(await store.revision()).toBe(3);
        expect(await put('c', 1)).toBe(4);
      });

      it('refuses whatever comes after it was closed', async () => {
        await store[Symbol.asyncDispose]();
        await expect(put('a', 1)).rejects.toMatchObject({ code: 'daemon.stopping' });
        await expect(store.get('a')).rejects.toMatchObject({ code: 'daemon.stopping' });
      });

      it('finishes what was under way when it is closed', async () => {
        const writes = Array.from({ length: 50 }, (_, n) => put(`n/${n}`, n));
        await reopen();
        expect(new Set(await Promise.all(writes)).size).toBe(50);
        expect(await store.list('n/')).toHaveLength(50);
      });
    });

    describe('conditions', () => {
      it('creates with revision 0 only what does not exist', async () => {
        await put('a', 1, { ifRevision: 0 });
        const error = { code: 'store.conflict', details: { key: 'a', revision: 1 } };
        await expect(put('a', 2, { ifRevision: 0 })).rejects.toMatchObject(error);
        expect((await store.get('a'))?.value).toBe(1);
      });

      it('replaces and deletes only at the revision named', async () => {
        const first = await put('a', 1);
        const second = await put('a', 2, { ifRevision: first });
        await expect(put('a', 3, { ifRevision: first })).rejects.toMatchObject({ code: 'store.conflict' });
        await expect(remove('a', { ifRevision: first })).rejects.toMatchObject({ code: 'store.conflict' });
        await remove('a', { ifRevision: second });
        await expect(remove('a', { ifRevision: second })).rejects.toMatchObject({ code: 'store.conflict' });
        expect(await store.get('a')).toBeUndefined();
      });

      it('writes nothing of a transaction when one condition of it fails', async () => {
        await put('a', 1);
        const writes: Write[] = [
          { type: 'put', key: 'b', value: 1 },
          { type: 'delete', key: 'a' },
          { type: 'put', key: 'c', value: 1, ifRevision: 7 },
        ];
        await expect(store.write(writes)).rejects.toMatchObject({ details: { key: 'c' } });
        expect(keys(await store.list(''))).toEqual(['a']);
        expect(await store.revision()).toBe(1);
      });

      it('lets exactly one of many succeed that compare and set at once', async () => {
        const revision = await put('a', 0);
        const tries = await Promise.allSettled(
          Array.from({ length: 100 }, (_, n) => put('a', n, { ifRevision: revision })),
        );
        expect(tries.filter((one) => one.status === 'fulfilled')).toHaveLength(1);
        expect(await store.revision()).toBe(revision + 1);
      });

      it('loses no increment of a counter that many change at once', async () => {
        await put('n', 0);
        const increment = async (): Promise<void> => {
          for (;;) {
            const record = await store.get('n');
            try {
              await put('n', Number(record?.value) + 1, { ifRevision: record?.revision ?? 0 });
              return;
            } catch (error) {
              expect(error).toMatchObject({ code: 'store.conflict' });
            }
          }
        };
        await Promise.all(Array.from({ length: 20 }, increment));
        expect((await store.get('n'))?.value).toBe(20);
      });
    });

    describe('watch', () => {
      it('tells of creation, change and deletion, with the value before', async () => {
        const before = Date.now();
        const watch = store.watch('a', { signal: deadline });
        await put('a', 1);
        await put('a', 2);
        await remove('a');
        const changes = await takeChanges(watch, 3);
        expect(changes.map(({ atMs: _, ...change }) => change)).toEqual([
          { revision: 1, key: 'a', value: 1, previous: undefined },
          { revision: 2, key: 'a', value: 2, previous: 1 },
          { revision: 3, key: 'a', value: undefined, previous: 2 },
        ]);
        for (const { atMs } of changes) expect(atMs).toBeGreaterThanOrEqual(before);
      });

      it('begins with the call when no revision is named', async () => {
        await put('a/1', 1);
        const watch = store.watch('a/', { signal: deadline });
        const written = put('a/2', 2);
        expect((await takeChanges(watch, 1)).map((change) => change.key)).toEqual(['a/2']);
        await written;
      });

      it('tells of a write that is under way when it begins', async () => {
        const written = put('a', 1);
        // The write leaves for the disk before the watch is asked for; its writer has not heard of it.
        for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
        const watch = store.watch('a', { signal: deadline });
        expect((await takeChanges(watch, 1)).map((change) => change.value)).toEqual([1]);
        await written;
      });

      it('resumes behind a revision, also one from before the store was opened, and goes on live', async () => {
        for (const n of [1, 2, 3]) await put(`a/${n}`, n);
        await reopen();
        const watch = store.watch('a/', { since: 1, signal: deadline });
        await put('a/4', 4);
        expect((await takeChanges(watch, 3)).map((change) => change.value)).toEqual([2, 3, 4]);
      });

      it('tells only of keys with the prefix', async () => {
        const watch = store.watch('a/', { since: 0, signal: deadline });
        for (const key of ['a', 'a/1', 'b/1', 'a0', 'a/2']) await put(key, 1);
        expect((await takeChanges(watch, 2)).map((change) => change.key)).toEqual(['a/1', 'a/2']);
      });

      it('gives a slow watcher every change once and in order, however far it is behind', async () => {
        const watch = store.watch('n/', { signal: deadline })[Symbol.asyncIterator]();
        await put('n/0', 0);
        expect((await watch.next()).value?.value).toBe(0);
        await Promise.all(Array.from({ length: 3_000 }, (_, n) => put(`n/${n}`, n)));
        const rest = await takeChanges({ [Symbol.asyncIterator]: () => watch }, 3_000);
        expect(rest.map((change) => change.revision)).toEqual(Array.from({ length: 3_000 }, (_, n) => n + 2));
      });

      it('ends without an error when its signal aborts, waiting or not begun', async () => {
        const stop = new AbortController();
        const ended = Array.fromAsync(store.watch('a', { signal: stop.signal }));
        await put('a', 1);
        await put('b', 1);
        stop.abort();
        expect((await ended).length).toBeLessThanOrEqual(1);
        expect(await Array.fromAsync(store.watch('a', { since: 0, signal: AbortSignal.abort() }))).toEqual(
          [],
        );
      });

      it('ends with an error when the store is closed', async () => {
        const ended = Array.fromAsync(store.watch('a', { signal: deadline }));
        const failure = expect(ended).rejects.toMatchObject({ code: 'daemon.stopping' });
        await store[Symbol.asyncDispose]();
        await failure;
      });

      it('says so when the changes after the revision are no longer kept', async () => {
        await reopen({ keepChanges: 10 });
        for (let n = 1; n <= 30; n += 1) await put('a', n);
        const from = (since: number) => takeChanges(store.watch('', { since, signal: deadline }), 30 - since);
        for (const since of [0, 5])
          await expect(from(since)).rejects.toMatchObject({ code: 'event.compacted' });
        expect((await from(20)).map((change) => change.value)).toEqual([
          21, 22, 23, 24, 25, 26, 27, 28, 29, 30,
        ]);
        await reopen({ keepChanges: 10 });
        await expect(from(5)).rejects.toMatchObject({ code: 'event.compacted' });
        expect(await from(20)).toHaveLength(10);
      });

      it('refuses a revision that the store has not reached', async () => {
        const watch = store.watch('', { since: 1, signal: deadline });
        await expect(takeChanges(watch, 1)).rejects.toMatchObject({ code: 'event.compacted' });
      });

      it('tells a watcher that stopped reading that it has missed changes', async () => {
        await reopen({ keepChanges: 10 });
        const watch = store.watch('', { signal: deadline })[Symbol.asyncIterator]();
        await put('a', 0);
        await watch.next();
        for (let n = 1; n <= 30; n += 1) await put('a', n);
        await expect(watch.next()).rejects.toMatchObject({ code: 'event.compacted' });
      });

      it('keeps a watcher current whose prefix nobody writes', async () => {
        await reopen({ keepChanges: 10 });
        const watch = store.watch('quiet/', { signal: deadline });
        for (let n = 1; n <= 30; n += 1) await put('a', n);
        await put('quiet/1', 1);
        expect(await takeChanges(watch, 1)).toMatchObject([{ key: 'quiet/1', revision: 31 }]);
      });
    });

    describe('expiry', () => {
      it('deletes a record when its time is up, as watchers see', async () => {
        const watch = store.watch('a', { since: 0, signal: deadline });
        await put('a', 1, { ttlMs: 40 });
        const [, expired] = await takeChanges(watch, 2);
        expect(expired).toMatchObject({ key: 'a', value: undefined, previous: 1, revision: 2 });
        expect(await store.get('a')).toBeUndefined();
      });

      it('spares a record that was put again without a time, and one that has a longer one', async () => {
        const watch = store.watch('', { since: 0, signal: deadline });
        await put('kept', 1, { ttlMs: 40 });
        await put('kept', 2);
        await put('long', 1, { ttlMs: 3_600_000 });
        await put('short', 1, { ttlMs: 60 });
        expect((await takeChanges(watch, 5)).at(-1)).toMatchObject({ key: 'short', value: undefined });
        expect(keys(await store.list(''))).toEqual(['kept', 'long']);
      });

      it('deletes what expired while it was closed', async () => {
        await put('a', 1, { ttlMs: 1 });
        await reopen();
        const watch = store.watch('a', { since: 1, signal: deadline });
        expect(await takeChanges(watch, 1)).toMatchObject([{ key: 'a', value: undefined }]);
      });
    });

    modelTest(() => store);
  });
}

/** Any key, with some that collide and some that share prefixes. */
const someKey = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom('a', 'a/', 'a/1', 'a/2', 'a/\u{10ffff}', 'b', 'ä', '') },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 6 }) },
);
// -0 is no value of JSON: it comes back as 0.
const someValue = fc.jsonValue({ maxDepth: 3 }).map((value) => JSON.parse(JSON.stringify(value)) as Json);
/** `stale`: which revision to name: none, the present one, 0, or an old one. */
const someCondition = fc.constantFrom('none', 'none', 'present', 'absent', 'stale');
const someWrite = fc.record({
  key: someKey,
  value: fc.option(someValue, { nil: undefined, freq: 3 }),
  condition: someCondition,
});
type SomeWrite = typeof someWrite extends fc.Arbitrary<infer T> ? T : never;
const someTransaction = fc.uniqueArray(someWrite, { selector: (write) => write.key, maxLength: 4 });
/** Each inner list is issued at once, without waiting. */
const someHistory = fc.array(fc.array(someTransaction, { minLength: 1, maxLength: 5 }), { maxLength: 12 });

interface Model {
  readonly records: Map<string, StoredRecord>;
  readonly changes: Omit<Change, 'atMs'>[];
  revision: number;
}

/** What the store must do with the transaction: its revision, or undefined for a conflict. */
function applyToModel(model: Model, writes: readonly Write[]): number | undefined {
  for (const { key, ifRevision } of writes) {
    if (ifRevision !== undefined && ifRevision !== (model.records.get(key)?.revision ?? 0)) return undefined;
  }
  const revision = model.revision + 1;
  for (const write of writes) {
    const { key } = write;
    const previous = model.records.get(key)?.value;
    const value = write.type === 'put' ? write.value : undefined;
    if (value === undefined && previous === undefined) continue;
    if (value === undefined) model.records.delete(key);
    else model.records.set(key, { key, value, revision });
    model.changes.push({ revision, key, value, previous });
    model.revision = revision;
  }
  return model.revision;
}

function toWrite(model: Model, { key, value, condition }: SomeWrite): Write {
  const present = model.records.get(key)?.revision ?? 0;
  const named = { none: undefined, present, absent: 0, stale: Math.max(1, present - 1) }[condition];
  const ifRevision = named === undefined ? {} : { ifRevision: named };
  return value === undefined
    ? { type: 'delete', key, ...ifRevision }
    : { type: 'put', key, value, ...ifRevision };
}

/** The order of UTF-8 bytes, which is that of code points and not that of JavaScript's strings. */
function byKey(one: StoredRecord, other: StoredRecord): number {
  return Buffer.compare(Buffer.from(one.key), Buffer.from(other.key));
}

function modelTest(theStore: () => Store): void {
  it('agrees with a map in memory on any history, and its watches replay that history', async () => {
    const run = async (history: readonly (readonly SomeWrite[][])[]): Promise<void> => {
      const store = theStore();
      await clear(store);
      const base = await store.revision();
      const model: Model = { records: new Map(), changes: [], revision: base };
      const signal = AbortSignal.timeout(DEADLINE_MS);
      const live = store.watch('', { signal });
      for (const group of history) {
        const answers = group.map((transaction) => {
          const writes = transaction.map((write) => toWrite(model, write));
          return {
            expected: applyToModel(model, writes),
            got: store.write(writes).catch(conflictAsUndefined),
          };
        });
        for (const { expected, got } of answers) expect(await got).toBe(expected);
      }
      expect(await store.revision()).toBe(model.revision);
      await expectRecords(store, model);
      const { changes } = model;
      expect((await takeChanges(live, changes.length)).map(withoutTime)).toEqual(changes);
      const middle = changes[Math.floor(changes.length / 2)]?.revision ?? base;
      for (const prefix of ['', 'a/']) {
        const expected = changes.filter(
          (change) => change.revision > middle && change.key.startsWith(prefix),
        );
        const resumed = store.watch(prefix, { since: middle, signal });
        expect((await takeChanges(resumed, expected.length)).map(withoutTime)).toEqual(expected);
      }
    };
    await fc.assert(fc.asyncProperty(someHistory, run), { numRuns: 60 });
  });
}

async function expectRecords(store: Store, model: Model): Promise<void> {
  const all = [...model.records.values()].sort(byKey);
  expect(await store.list('')).toEqual(all);
  for (const prefix of ['a', 'a/', 'ä', '\u{10ffff}']) {
    expect(await store.list(prefix)).toEqual(all.filter((record) => record.key.startsWith(prefix)));
  }
  const [first, ...rest] = all;
  if (first) expect(await store.list('', { after: first.key, limit: 3 })).toEqual(rest.slice(0, 3));
  for (const record of all) expect(await store.get(record.key)).toEqual(record);
}

async function clear(store: Store): Promise<void> {
  const records = await store.list('');
  await store.write(records.map(({ key }) => ({ type: 'delete', key })));
}

function withoutTime({ atMs: _, ...change }: Change): Omit<Change, 'atMs'> {
  return change;
}

function conflictAsUndefined(error: unknown): undefined {
  expect(error).toMatchObject({ code: 'store.conflict' });
  return undefined;
}
