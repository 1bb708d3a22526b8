/** The way in from other hypervisors and back: what an import would make, and its operations. The works are in transfer-work and transfer-export. */
import { type ImportCreate, type Instance, instanceSpecSchema, nicCreateSchema, WirtError } from '@wirt/api';
import type { MachineDraft } from '../domain/machine/draft.ts';
import type { ImportNote } from '../domain/machine/notes.ts';
import { nicsOf } from '../domain/nic.ts';
import type { TransferActions } from './actions.ts';
import { allCards } from './cards.ts';
import { requireCan } from './instance-state.ts';
import { placeCards } from './network-cards.ts';
import { networksLane } from './network-state.ts';
import type { Shared } from './parts.ts';
import { nameConflict, nameTaken } from './records.ts';
import { exportMachine } from './transfer-export.ts';
import { planImport, readDescription } from './transfer-plan.ts';
import { importMachine, type TransferParts } from './transfer-work.ts';
import type { Answering } from './waiting.ts';
import { begin, type WorkTable } from './works.ts';

export type TransferKind = 'instance.import' | 'instance.export';

export function transferWorks(parts: TransferParts): WorkTable<TransferKind> {
  return {
    'instance.import': (id) => importMachine(parts, id),
    'instance.export': (id) => exportMachine(parts, id),
  };
}

export function createTransferActions(
  shared: Shared,
  works: WorkTable<TransferKind>,
  answering: Answering,
): TransferActions {
  const { instances, pools } = shared;
  const fit = (draft: MachineDraft): MachineDraft => withOwnMacs(shared, draft);
  return {
    plan: (request, input) =>
      planImport(shared, request, input, fit, (draft) => {
        specOf(shared.operations.newId(), draft);
      }),
    import: (request, input, wait) =>
      answering(request, wait, async () => {
        if (input.dryRun) throw dryRunElsewhere();
        pools.require(input.pool);
        const { kind, draft } = await readDescription(shared, request, input, fit);
        if (instances.find(draft.name, input.project) !== undefined) throw nameTaken('instance', draft.name);
        const instance = newInstance(shared, draft, input);
        const { id, name } = instance;
        const target = { kind: 'instance', id, name } as const;
        const started = shared.lanes.run(networksLane, async () => {
          // Another import may have taken them meanwhile.
          const wanted = specOf(id, withOwnMacs(shared, draft)).nics;
          const nics = await placeCards(shared, instance, wanted);
          return begin(shared, request, {
            kind: 'instance.import',
            target,
            input: { ...input, format: kind === 'ovf' ? input.format : kind },
            staged: [instances.put({ ...instance, spec: { ...instance.spec, nics } })],
            work: works['instance.import'](id),
          });
        });
        return started.catch((error: unknown) => {
          throw nameConflict(error, 'instance');
        });
      }),
    export: (request, ref, input, wait) =>
      answering(request, wait, async () => {
        const instance = instances.require(ref);
        if (!shared.lanes.busy(instance.id)) requireCan('export', instance);
        const { id, name } = instance;
        const target = { kind: 'instance', id, name } as const;
        const work = works['instance.export'](id);
        return begin(shared, request, { kind: 'instance.export', target, input: { ...input }, work });
      }),
  };
}

function dryRunElsewhere(): WirtError {
  return new WirtError('request.invalid', 'An import with dryRun would change something.', {
    hint: 'Ask for the plan: POST /v1/imports/plan, or `wirt import FILE --dry-run`.',
  });
}

function newInstance(
  { operations, clock }: Shared,
  draft: MachineDraft,
  { project }: ImportCreate,
): Instance {
  const now = clock.now();
  if (draft.disks.every(({ device }) => device !== 'disk'))
    throw new WirtError('import.unsupported', `Machine ${draft.name} has no disk that could be imported.`, {
      hint: 'See which were left out, and why: `wirt import FILE --dry-run`.',
    });
  const id = operations.newId();
  return {
    id,
    name: draft.name,
    project,
    labels: {},
    revision: 0,
    createdAt: now,
    spec: specOf(id, draft),
    status: { state: 'stopped', since: now, agent: false, restarts: 0 },
  };
}

/** A machine that is here already keeps its MAC addresses; this one gets others, and is told so. */
function withOwnMacs(shared: Shared, draft: MachineDraft): MachineDraft {
  const owners = new Map([...allCards(shared)].map(({ instance, nic }) => [nic.mac, instance.name]));
  const notes: ImportNote[] = [];
  const nics = draft.nics.map((nic, index) => {
    const { mac, ...rest } = nic;
    const owner = mac === undefined ? undefined : owners.get(mac);
    if (mac === undefined || owner === undefined) return nic;
    notes.push({
      setting: `network card ${index + 1}, MAC address`,
      value: mac,
      reason: `Instance ${owner} has it; this one gets an address of its own.`,
      effect: 'changed',
    });
    return rest;
  });
  return { ...draft, nics, notes: [...draft.notes, ...notes] };
}

/** Its disks come when they are imported. A record that no daemon could read again must not come about. */
function specOf(id: string, draft: MachineDraft): Instance['spec'] {
  const { name, cpus, memoryMib, firmware } = draft;
  const wanted = draft.nics.map(({ model, mac, bootOrder }) =>
    nicCreateSchema.parse({
      model,
      ...(mac === undefined ? {} : { mac }),
      ...(bootOrder === undefined ? {} : { bootOrder }),
    }),
  );
  const nics = nicsOf({ id, name }, wanted);
  const spec = instanceSpecSchema.safeParse({ cpus, memoryMib, firmware, nics });
  if (spec.success) return spec.data;
  const [issue] = spec.error.issues;
  throw new WirtError(
    'import.unsupported',
    `Machine ${name} is none that an instance can be: ${issue?.path.join('.')}: ${issue?.message}.`,
  );
}
