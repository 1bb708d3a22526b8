/**
 * Operations on what is not an instance's life: their works by kind, so that what a request starts and what recovery takes up again is
 * the same code, and the lane in which each runs. Every work may run again from its beginning.
 */
import type { Operation, OperationKind } from '@wirt/api';
import type { Request } from './actions.ts';
import type { Work } from './operation-runner.ts';
import type { Shared } from './parts.ts';
import type { Staged } from './records.ts';

/** By the id of the target. */
export type WorkTable<K extends OperationKind = OperationKind> = {
  readonly [Kind in K]: (id: string) => Work;
};

type Records = Pick<Shared, 'volumes' | 'snapshots'>;

/**
 * A volume that an instance has is worked on in the instance's lane, and so are its snapshots: what a guest has open is changed by one at a
 * time.
 */
export function laneOf(
  { volumes, snapshots }: Records,
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

/**
 * Exports of snapshots take long and read only what is frozen: they hold no instance up, but the removals that would take it away from
 * under them. Those wait here, outside of the instance's lane, and go into it when their turn has come.
 */
function readersLane(instance: string): string {
  return `readers/${instance}`;
}

/** The lane of an operation, asked when its turn has come, since a volume moves when it is attached or detached. */
export function laneOfOperation(
  records: Records,
  { kind, target, input }: Pick<Operation, 'kind' | 'target' | 'input'>,
): () => string {
  switch (kind) {
    case 'instance.attach':
      // What is being done with the volume may take long, and holds only that up.
      return () => String(input['volume']);
    case 'instance.remove':
      return () => readersLane(target.id);
    case 'volume.flatten':
      // What is merged into may be read by an export; the work goes into the volume's lane when its turn has come.
      return () => (input['spent'] === true ? readersLane(laneOf(records, target)) : laneOf(records, target));
    case 'snapshot.export':
    case 'snapshot.remove':
      return () => readersLane(laneOf(records, target));
    default:
      return () => laneOf(records, target);
  }
}

export interface Begin {
  readonly kind: OperationKind;
  readonly target: Operation['target'];
  readonly input: Operation['input'];
  readonly staged?: readonly Staged[];
  readonly cancellable?: boolean;
  /** Without it that of the kind and target; for a target that has no record yet. */
  readonly lane?: string;
  readonly work: Work;
}

export function begin(shared: Shared, request: Request, one: Begin): Promise<Operation> {
  const { kind, target, input, staged = [], cancellable = true, lane, work } = one;
  return shared.operations.start(request, {
    kind,
    project: 'default',
    target,
    input,
    staged,
    cancellable,
    lane: lane === undefined ? laneOfOperation(shared, one) : () => lane,
    work,
  });
}
