/** Network cards of an instance: attaching, changing and detaching them. The works are in nic-work. */
import type { NicActions } from './actions.ts';
import type { InstanceLife } from './instance-life.ts';
import { requireCan, requireRevision } from './instance-state.ts';
import { requireNic } from './nic-work.ts';
import type { Shared } from './parts.ts';
import type { Answering } from './waiting.ts';

export function createNicActions(shared: Shared, life: InstanceLife, answering: Answering): NicActions {
  const { instances, lanes } = shared;
  return {
    attach: (request, ref, input, wait) =>
      answering(request, wait, async () => {
        const instance = instances.require(ref);
        requireRevision(instance, request.ifRevision);
        if (!lanes.busy(instance.id)) requireCan('attach', instance);
        return life.start(request, 'instance.attach-nic', instance, { ...input });
      }),
    update: (request, ref, nic, input, wait) =>
      answering(request, wait, async () => {
        const instance = instances.require(ref);
        requireRevision(instance, request.ifRevision);
        if (!lanes.busy(instance.id)) requireCan('update', instance);
        requireNic(instance, nic);
        return life.start(request, 'instance.update-nic', instance, { ...input, nic });
      }),
    detach: (request, ref, nic, wait) =>
      answering(request, wait, async () => {
        const instance = instances.require(ref);
        requireRevision(instance, request.ifRevision);
        if (!lanes.busy(instance.id)) requireCan('detach', instance);
        requireNic(instance, nic);
        return life.start(request, 'instance.detach-nic', instance, { nic });
      }),
  };
}
