/** Images: building by a recipe, listing, removal. An image is seen by starts only when it is whole. */
import { type Image, type Operation, toProblem, WirtError } from '@wirt/api';
import { pageOf } from '../domain/page.ts';
import { Undo } from '../domain/undo.ts';
import type { ImageBuilder } from '../ports/image-builder.ts';
import type { ImageActions } from './actions.ts';
import type { InstanceLife } from './instance-life.ts';
import type { Work } from './operation-runner.ts';
import type { Shared } from './parts.ts';
import { commit, nameConflict, nameTaken } from './records.ts';
import { answer } from './waiting.ts';

/** A build downloads about 100 MB; past this it hangs. */
const buildDeadlineMs = 1_800_000;

export function createImageActions(shared: Shared, life: InstanceLife): ImageActions {
  const { store, images, instances, operations, imageFiles, lanes } = shared;
  return {
    list: ({ cursor, limit }) => Promise.resolve(pageOf(images.after(cursor), limit, () => true)),
    get: (ref) => Promise.resolve().then(() => images.require(ref)),
    build: async (request, input, wait) => {
      const earlier = await operations.earlier(request);
      if (earlier !== undefined) return answer(operations, life.live, request, earlier, wait);
      const builder = builderFor(shared.imageBuilders, input.recipe);
      const image = newImage(shared, input.name ?? input.recipe, input.recipe);
      if (images.find(image.name) !== undefined) {
        throw nameTaken('image', image.name);
      }
      const target = { kind: 'image', id: image.id, name: image.name } as const;
      const operation = await operations
        .start(request, {
          kind: 'image.build',
          project: image.project,
          target,
          input: { recipe: input.recipe },
          cancellable: true,
          staged: [images.put(image)],
          work: build(shared, builder, image.id),
        })
        .catch((error: unknown) => {
          throw nameConflict(error, 'image', image.name);
        });
      return answer(operations, life.live, request, operation, wait);
    },
    remove: async (_request, ref) => {
      const { id } = images.require(ref);
      await lanes.run(id, async () => {
        const image = images.require(id);
        const users = [...instances.after()]
          .filter(({ spec }) => spec.image === image.name)
          .map(({ name }) => name);
        if (users.length > 0) throw inUse(image, users);
        await commit(store, [images.remove(image)]);
        await imageFiles.remove(id);
      });
    },
  };
}

function builderFor(builders: readonly ImageBuilder[], recipe: string): ImageBuilder {
  const builder = builders.find((one) => one.recipe === recipe);
  if (builder !== undefined) return builder;
  const known = builders.map((one) => one.recipe).join(', ');
  throw new WirtError('image.unknown_recipe', `There is no recipe ${JSON.stringify(recipe)}.`, {
    hint: `Known recipes: ${known}.`,
  });
}

function newImage({ operations, clock }: Shared, name: string, recipe: string): Image {
  return {
    id: operations.newId(),
    name,
    project: 'default',
    labels: {},
    revision: 0,
    createdAt: clock.now(),
    spec: { recipe, format: 'kernel' },
    status: { state: 'building' },
  };
}

function inUse(image: Image, users: readonly string[]): WirtError {
  const shown = users.slice(0, 5).join(', ') + (users.length > 5 ? ` and ${users.length - 5} more` : '');
  return new WirtError('image.in_use', `Image ${image.name} is used by ${shown}.`, {
    hint: `Remove them first: \`wirt rm ${users[0]}\`.`,
    details: { instances: users },
  });
}

/** Builds into a staging directory; the record and the files become whole together, or both go. */
function build(
  { store, images, imageFiles, logger, faults }: Shared,
  builder: ImageBuilder,
  id: string,
): Work {
  return async (progress) => {
    await using undo = new Undo((error) => logger.error('image.undo_failed', { image: id, error }));
    undo.add(async () => {
      const image = images.get(id);
      if (image !== undefined) await commit(store, [images.remove(image)]);
      await imageFiles.remove(id);
    });
    const signal = AbortSignal.any([progress.signal, AbortSignal.timeout(buildDeadlineMs)]);
    await faults.at('image.build/stage');
    const directory = await imageFiles.stage(id);
    await faults.at('image.build/build');
    const built = await builder.build(directory, {
      signal,
      onProgress: (step) => progress.stage(step.stage, step),
    });
    await faults.at('image.build/publish');
    await imageFiles.publish(id);
    await faults.at('image.build/record');
    await progress.complete([images.put({ ...images.require(id), status: { state: 'ready', ...built } })]);
    undo.release();
  };
}

/** Undoes builds that the daemon’s end interrupted, and clears files that no image owns. */
export async function recoverImages(shared: Shared, open: readonly Operation[]): Promise<void> {
  const { store, images, imageFiles, operations } = shared;
  for (const operation of open) {
    if (operation.kind !== 'image.build') continue;
    const error = new WirtError(
      'operation.interrupted',
      `Building image ${operation.target.name} was interrupted by the end of wirtd.`,
      {
        hint: `Build it again: \`wirt image build ${String(operation.input['recipe'])}\`.`,
      },
    );
    await operations.settle(operation, { state: 'failed', recovery: 'undone', error: toProblem(error) });
  }
  for (const image of [...images.after()]) {
    if (image.status.state === 'building') await commit(store, [images.remove(image)]);
  }
  for (const id of await imageFiles.list()) {
    if (images.get(id) === undefined) await imageFiles.remove(id);
  }
}
