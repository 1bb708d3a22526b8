/**
 * Operations on what is not an instance's life: their works by kind, so that what a request starts and what recovery takes up again is
 * the same code, and the lane in which each runs. Every work may run again from its beginning.
 */
import { type Operation, type OperationKind, WirtError } from '@wirt/api';
import type { Request } from './actions.ts';
import type { Work } from './operation-runner.ts';
import type { Shared } from './parts.ts';
import type { Staged } from './records.ts';

/** By the id of the target. */
export type WorkTable<K extends OperationKind = OperationKind> = {
  readonly [Kind in K]: (id: string) => Work;
};

/**
 * A volume that an instance has is worked on in the instance's lane, and so are its snapshots: what a guest has open is changed by one at a
 * time.
 */
export function laneOf(
  { volumes, snapshots }: Pick<Shared, 'volumes' | 'snapshots'>,
  target: Pick<Operation['target'], 'kind' | 'id'>,
): string {
  switch (target.kind) {
    case 'volume':
      return volumes.get(target.id)?.status.attachment?.instance ?? target.id;
    case 'snapshot':
      return snapshots.get(target.id)?.spec.instance ?? target.id;
    case 'instance':
    case 'image':
      return target.id;
  }
}

/** Throws when the volume has moved to another lane while its operation waited. */
export function requireLane(
  shared: Pick<Shared, 'volumes' | 'snapshots'>,
  volume: string,
  lane: string,
): void {
  if (laneOf(shared, { kind: 'volume', id: volume }) === lane) return;
  const { name } = shared.volumes.require(volume);
  throw new WirtError('volume.state_conflict', `Volume ${name} was attached or detached meanwhile.`, {
    hint: 'Try it again.',
  });
}

export interface Begin {
  readonly kind: OperationKind;
  readonly target: Operation['target'];
  readonly input: Operation['input'];
  readonly staged?: readonly Staged[];
  readonly cancellable?: boolean;
  /** Without it that of the target. */
  readonly lane?: string;
  readonly work: Work;
}

export function begin(shared: Shared, request: Request, one: Begin): Promise<Operation> {
  const { kind, target, input, staged = [], cancellable = true, work } = one;
  const lane = one.lane ?? laneOf(shared, target);
  return shared.operations.start(request, {
    kind,
    project: 'default',
    target,
    input,
    staged,
    cancellable,
    lane,
    work,
  });
}
