/** Disks and media of an instance: attaching, detaching, changing the medium. The works are in disk-work. */
import type { DiskActions } from './actions.ts';
import { requireAttached, requireDrive, requireFree } from './disk-work.ts';
import { requireMedium, requireReady as requireWhole } from './image-use.ts';
import type { InstanceLife } from './instance-life.ts';
import { requireCan, requireRevision } from './instance-state.ts';
import type { Shared } from './parts.ts';
import { requireReady } from './volume-work.ts';
import type { Answering } from './waiting.ts';

export function createDiskActions(shared: Shared, life: InstanceLife, answering: Answering): DiskActions {
  const { instances } = shared;
  return {
    attach: (request, ref, input, wait) =>
      answering(request, wait, async () => {
        const instance = instances.require(ref);
        requireRevision(instance, request.ifRevision);
        if (!shared.lanes.busy(instance.id)) requireCan('attach', instance);
        const volume = shared.volumes.require(input.volume, instance.project);
        // One that is being made would keep the instance waiting.
        requireReady(volume, 'attached');
        requireFree(shared, volume, instance);
        return life.start(request, 'instance.attach', instance, { ...input, volume: volume.id });
      }),
    detach: (request, ref, disk, wait) =>
      answering(request, wait, async () => {
        const instance = instances.require(ref);
        requireRevision(instance, request.ifRevision);
        if (!shared.lanes.busy(instance.id)) requireCan('detach', instance);
        requireAttached(instance, disk);
        return life.start(request, 'instance.detach', instance, { disk });
      }),
    changeMedium: (request, ref, disk, input, wait) =>
      answering(request, wait, async () => {
        const instance = instances.require(ref);
        requireRevision(instance, request.ifRevision);
        if (!shared.lanes.busy(instance.id)) requireCan('medium', instance);
        requireDrive(instance, disk);
        if (input.image !== null)
          requireMedium(requireWhole(shared.images.require(input.image, instance.project)));
        return life.start(request, 'instance.medium', instance, { disk, ...input });
      }),
  };
}
