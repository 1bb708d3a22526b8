/** Builds the actions from the ports. What they share (cache, lanes, operations) is made here once. */
import { imageSchema, instanceSchema } from '@wirt/api';
import { Lanes } from '../domain/lanes.ts';
import type { Actions } from './actions.ts';
import { createEventActions } from './event.ts';
import { createGuestActions } from './guest.ts';
import { createHostActions } from './host.ts';
import { createImageActions, recoverImages } from './image.ts';
import { createInstanceActions } from './instance.ts';
import { createLife } from './instance-life.ts';
import { recoverInstances } from './instance-recover.ts';
import { createOperationActions } from './operation.ts';
import { OperationRunner, openOperations } from './operation-runner.ts';
import type { CoreParts, Shared } from './parts.ts';
import { Records } from './records.ts';

export interface Core {
  readonly actions: Actions;
  /** Adopts running guests and finishes or undoes what an earlier daemon left. Call once, before any request. */
  recover(signal: AbortSignal): Promise<void>;
  /** Stops all work, or leaves it to the next daemon when `signal` aborts; lets go of the guests, which go on. */
  stop(signal: AbortSignal): Promise<void>;
}

export async function createActions(parts: CoreParts): Promise<Core> {
  const { store, clock, logger } = parts;
  const lanes = new Lanes();
  const shared: Shared = {
    ...parts,
    lanes,
    instances: new Records({ store, kind: 'instance', parse: (value) => instanceSchema.parse(value) }),
    images: new Records({ store, kind: 'image', parse: (value) => imageSchema.parse(value) }),
    operations: new OperationRunner({ store, lanes, clock, logger }),
  };
  await shared.instances.load();
  await shared.images.load();
  const life = createLife(shared);
  return {
    actions: {
      instance: createInstanceActions(shared, life),
      guest: createGuestActions(shared, life.live),
      image: createImageActions(shared, life),
      operation: createOperationActions(shared),
      event: createEventActions(store),
      host: createHostActions(parts.host),
    },
    recover: async (signal) => {
      const open = await openOperations(store);
      await recoverImages(shared, open);
      await recoverInstances(shared, life, open, signal);
    },
    stop: async (signal) => {
      life.watch.stop();
      await shared.operations.stop(signal);
      for (const guest of life.live.all()) guest.detach();
    },
  };
}
