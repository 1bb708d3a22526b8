/** Operations: listing, showing and waiting, cancelling. Running them is the business of operation-runner. */
import type { Operation } from '@wirt/api';
import type { OperationActions } from './actions.ts';
import { fromStore } from './operation-runner.ts';
import type { Shared } from './parts.ts';
import { waitFor } from './waiting.ts';

const readAtOnce = 500;

export function createOperationActions({
  store,
  operations,
}: Pick<Shared, 'store' | 'operations'>): OperationActions {
  /** By id from the store, those that run as they are now. */
  async function* all(cursor: string | undefined): AsyncIterable<Operation> {
    const active = new Map(operations.active().map((operation) => [operation.id, operation]));
    let after = cursor === undefined ? undefined : `operation/${cursor}`;
    for (;;) {
      const records = await store.list('operation/', {
        limit: readAtOnce,
        ...(after === undefined ? {} : { after }),
      });
      for (const { value, revision } of records) {
        const operation = fromStore(value, revision);
        yield active.get(operation.id) ?? operation;
      }
      after = records.at(-1)?.key;
      if (records.length < readAtOnce || after === undefined) return;
    }
  }

  return {
    list: async ({ cursor, limit, state, target }) => {
      const items: Operation[] = [];
      for await (const operation of all(cursor)) {
        if (state !== undefined && operation.state !== state) continue;
        if (target !== undefined && operation.target.name !== target && operation.target.id !== target)
          continue;
        const last = items.at(-1);
        if (items.length === limit && last !== undefined) return { items, next: last.id };
        items.push(operation);
      }
      return { items };
    },
    get: (request, id, waitSeconds) => waitFor(operations, request, id, waitSeconds),
    cancel: (_request, id) => operations.cancel(id),
  };
}
