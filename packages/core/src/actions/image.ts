/** Images: building, importing, pulling, listing, exporting, removal. The works are in image-work. */
import { type Image, type Operation, toProblem, WirtError } from '@wirt/api';
import { volumesOnImage } from '../domain/layers.ts';
import { namesOf } from '../domain/names.ts';
import { pageOf } from '../domain/page.ts';
import type { ImageBuilder } from '../ports/image-builder.ts';
import type { ImageActions, Request } from './actions.ts';
import { requireDisk, requireReady, usesLane } from './image-use.ts';
import {
  buildImage,
  downloadKeptMs,
  downloadPrefix,
  exportImage,
  importImage,
  pullImage,
  removeUnowned,
} from './image-work.ts';
import type { Work } from './operation-runner.ts';
import type { Shared } from './parts.ts';
import { commit, nameConflict, nameTaken } from './records.ts';
import { imageKey } from './volume-layers.ts';
import type { Answering } from './waiting.ts';
import { begin, type WorkTable } from './works.ts';

export type ImageKind = 'image.import' | 'image.pull' | 'image.export';

export function imageWorks(shared: Shared): WorkTable<ImageKind> {
  return {
    'image.import': (id) => importImage(shared, id),
    'image.pull': (id) => pullImage(shared, id),
    'image.export': (id) => exportImage(shared, id),
  };
}

export function createImageActions(
  shared: Shared,
  works: WorkTable<ImageKind>,
  answering: Answering,
): ImageActions {
  const { store, images, lanes } = shared;

  const start = (
    request: Request,
    kind: 'image.build' | Exclude<ImageKind, 'image.export'>,
    image: Image,
    input: Operation['input'],
    work: Work,
  ): Promise<Operation> => {
    const { id, name } = image;
    if (images.find(name) !== undefined) throw nameTaken('image', name);
    const target = { kind: 'image', id, name } as const;
    return begin(shared, request, { kind, target, input, staged: [images.put(image)], work }).catch(
      (error: unknown) => {
        throw nameConflict(error, 'image');
      },
    );
  };

  return {
    list: ({ cursor, limit }) => Promise.resolve(pageOf(images.after(cursor), limit, () => true)),
    get: (ref) => Promise.resolve().then(() => images.require(ref)),
    build: (request, input, wait) =>
      answering(request, wait, async () => {
        const builder = builderFor(shared.imageBuilders, input.recipe);
        const { recipe, name = recipe } = input;
        const image = newImage(shared, name, { recipe, format: 'kernel' });
        return start(request, 'image.build', image, { recipe }, buildImage(shared, builder, image.id));
      }),
    import: (request, { labels, ...input }, wait) =>
      answering(request, wait, async () => {
        const source = withoutQuery(input.path ?? input.url ?? '');
        // What it turns out to be is known when it has been looked into.
        const image = newImage(
          shared,
          input.name,
          { source, format: input.format === 'iso' ? 'iso' : 'qcow2' },
          labels,
        );
        return start(request, 'image.import', image, { ...input }, works['image.import'](image.id));
      }),
    pull: (request, input, wait) =>
      answering(request, wait, async () => {
        const { source, entry } = splitSource(shared, input.image);
        const image = newImage(shared, input.name ?? nameOfEntry(entry), {
          source: `${source}:${entry}`,
          format: 'qcow2',
        });
        return start(request, 'image.pull', image, { source, entry }, works['image.pull'](image.id));
      }),
    export: (request, ref, input, wait) =>
      answering(request, wait, async () => {
        const image = requireReady(images.require(ref));
        if (image.spec.format === 'kernel') requireDisk(image);
        const { id, name } = image;
        const target = { kind: 'image', id, name } as const;
        return begin(shared, request, {
          kind: 'image.export',
          target,
          input: { ...input },
          work: works['image.export'](id),
        });
      }),
    remove: async (_request, ref) => {
      const { id } = images.require(ref);
      await lanes.run(id, async () => {
        const image = await lanes.run(usesLane(id), async () => {
          const unused = requireUnused(shared, images.require(id));
          await commit(store, [images.remove(unused)]);
          return unused;
        });
        await removeUnowned(shared, imageKey(image));
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

/** What stands behind `?` in an address may be a key. */
function withoutQuery(source: string): string {
  return source.replace(/[?#].*$/s, '');
}

/** `ubuntu:24.04`; without a source the first catalogue. */
function splitSource({ catalogue }: Shared, image: string): { source: string; entry: string } {
  const [first = ''] = catalogue.sources;
  const colon = image.indexOf(':');
  return colon < 0
    ? { source: first, entry: image }
    : { source: image.slice(0, colon), entry: image.slice(colon + 1) };
}

/** `debian/12/cloud` → `debian-12-cloud`. */
function nameOfEntry(entry: string): string {
  return entry
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 63);
}

function newImage(
  { operations, clock }: Shared,
  name: string,
  spec: Image['spec'],
  labels: Image['labels'] = {},
): Image {
  return {
    id: operations.newId(),
    name,
    project: 'default',
    labels,
    revision: 0,
    createdAt: clock.now(),
    spec,
    status: { state: 'building' },
  };
}

/** Throws `image.in_use`, and says by whom. */
function requireUnused({ instances, volumes }: Shared, image: Image): Image {
  const boots = image.spec.format === 'kernel';
  const users = [...instances.after()].filter(
    ({ spec }) =>
      (boots && spec.image === image.name) ||
      spec.disks.some((disk) => disk.device === 'cdrom' && disk.image === image.name),
  );
  if (users.length > 0)
    throw inUse(image, 'instances', users, (name) =>
      boots ? `wirt rm ${name}` : `wirt media eject ${name}`,
    );
  const lying = volumesOnImage(volumes.after(), image.id);
  if (lying.length > 0) throw inUse(image, 'volumes', lying, (name) => `wirt volume flatten ${name}`);
  return image;
}

function inUse(
  image: Image,
  kind: 'instances' | 'volumes',
  users: readonly { readonly name: string }[],
  release: (name: string) => string,
): WirtError {
  return new WirtError('image.in_use', `Image ${image.name} is used by the ${kind} ${namesOf(users)}.`, {
    hint: `Remove them first, or: \`${release(users[0]?.name ?? '')}\`.`,
    details: { [kind]: users.map(({ name }) => name) },
  });
}

/**
 * Ends builds that the daemon’s end interrupted, whose caches make the next one quick; imports and pulls are taken up again. Clears files
 * that no image owns.
 */
export async function recoverImages(shared: Shared, open: readonly Operation[]): Promise<void> {
  const { store, late, images, imageFiles, operations, transfer, logger } = shared;
  const goingOn = new Set<string>();
  for (const operation of open) {
    const { kind, target } = operation;
    if (kind === 'image.import' || kind === 'image.pull') goingOn.add(target.id);
    if (kind !== 'image.build') continue;
    const error = new WirtError(
      'operation.interrupted',
      `Building image ${target.name} was interrupted by the end of wirtd.`,
      {
        hint: `Build it again: \`wirt image build ${String(operation.input['recipe'])}\`.`,
      },
    );
    await operations.settle(operation, { state: 'failed', recovery: 'undone', error: toProblem(error) });
  }
  for (const image of [...images.after()]) {
    if (image.status.state === 'building' && !goingOn.has(image.id))
      await late.begin(
        () => commit(store, [images.remove(image)]),
        (error) => logger.error('image.not_forgotten', { image: image.id, error }),
      );
  }
  const keys = new Set([...images.after()].map(imageKey));
  for (const key of await imageFiles.list()) if (!keys.has(key)) await imageFiles.remove(key);
  for (const id of await transfer.list()) {
    if (id.startsWith(downloadPrefix)) await transfer.clean(id, { olderThanMs: downloadKeptMs });
    else if (!goingOn.has(id)) await transfer.clean(id);
  }
}
