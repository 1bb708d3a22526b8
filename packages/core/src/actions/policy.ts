/** Policies: limits that instances share. A change is in force on the guests that have it when it is answered. */
import { type Instance, type Policy, type PolicyUpdate, WirtError } from '@wirt/api';
import pLimit from 'p-limit';
import { patched } from '../domain/limits/wanted.ts';
import { namesOf } from '../domain/names.ts';
import { pageOf } from '../domain/page.ts';
import type { PolicyActions, Request } from './actions.ts';
import { admitPolicy } from './admission.ts';
import { requireRevision } from './instance-state.ts';
import { requireLimits } from './limits.ts';
import { bringLimits } from './limits-hold.ts';
import type { LiveGuests } from './live-guests.ts';
import type { Shared } from './parts.ts';
import { commit, nameConflict, nameTaken } from './records.ts';

const broughtAtOnce = 8;

/** Policies, and who has them, change in this lane. */
export const policiesLane = 'policies';

export function createPolicyActions(shared: Shared, live: LiveGuests): PolicyActions {
  const { policies, store, lanes, faults, operations, clock } = shared;
  return {
    list: async ({ cursor, limit, project }) => {
      const { items, ...rest } = pageOf(policies.after(cursor), limit, (one) => one.project === project);
      return { items: items.map((policy) => observed(shared, policy)), ...rest };
    },
    get: async (ref) => observed(shared, policies.require(ref)),
    create: (_request, { name, project, labels, description, limits }) =>
      lanes.run(policiesLane, async () => {
        if (policies.find(name, project) !== undefined) throw nameTaken('policy', name);
        const policy: Policy = {
          id: operations.newId(),
          name,
          project,
          labels,
          revision: 0,
          createdAt: clock.now(),
          spec: { description, limits },
          status: { instances: [] },
        };
        await requireKept(shared, policy);
        await commit(store, [policies.put(policy)]).catch((error: unknown) => {
          throw nameConflict(error, 'policy');
        });
        return observed(shared, policies.require(policy.id));
      }),
    update: (request, ref, input) => update(shared, live, request, ref, input),
    remove: async (_request, ref) => {
      const { id } = policies.require(ref);
      await lanes.run(policiesLane, async () => {
        const policy = policies.require(id);
        const users = usersOf(shared, policy);
        if (users.length > 0)
          throw new WirtError('policy.in_use', `Policy ${policy.name} is had by ${namesOf(users)}.`, {
            hint: `Give them another, or none, first: \`wirt set ${users[0]?.name} policy=\`.`,
            details: { instances: users.map(({ name }) => name) },
          });
        await faults.at('policy.remove/record');
        await commit(store, [policies.remove(policy)]);
      });
    },
  };
}

async function update(
  shared: Shared,
  live: LiveGuests,
  request: Request,
  ref: string,
  { description, labels, limits }: PolicyUpdate,
): Promise<Policy> {
  const { policies, store, lanes, faults, logger } = shared;
  const { id } = policies.require(ref);
  await lanes.run(policiesLane, async () => {
    const before = policies.require(id);
    requireRevision(before, request.ifRevision);
    const after: Policy = {
      ...before,
      labels: labels ?? before.labels,
      spec: {
        description: description ?? before.spec.description,
        limits: limits === undefined ? before.spec.limits : patched(before.spec.limits, limits),
      },
    };
    await requireKept(shared, after);
    await faults.at('policy.update/record');
    await promisingAll(shared, after, () => commit(store, [policies.put(after)]));
  });
  await faults.at('policy.update/apply');
  // One at which long work is being done gets it when that has ended, and nobody is kept waiting by it.
  const running = usersOf(shared, policies.require(id)).filter(
    ({ id: user }) => live.get(user) !== undefined,
  );
  const slot = pLimit(broughtAtOnce);
  await Promise.all(
    running.map(async (instance) => {
      const isBusy = lanes.busy(instance.id);
      const brought = slot(() => lanes.run(instance.id, () => bringLimits(shared, live, instance.id))).catch(
        (error: unknown) => logger.warn('limits.not_in_force', { instance: instance.id, error }),
      );
      if (!isBusy) await brought;
    }),
  );
  return observed(shared, policies.require(id));
}

/** Reservations of a policy are promises to those that have it and run or are being started. Throws as `admitPolicy`. */
async function promisingAll(shared: Shared, after: Policy, record: () => Promise<void>): Promise<void> {
  const memory = await shared.host.memory();
  try {
    admitPolicy(shared, after, memory);
    await record();
  } finally {
    shared.admittedPolicies.delete(after.id);
  }
}

/** By every instance that has it, and by one that would have nothing else. Throws `limit.*`, naming it. */
async function requireKept(shared: Shared, policy: Policy): Promise<void> {
  for (const instance of usersOf(shared, policy)) await requireLimits(shared, instance, policy);
  await requireLimits(shared, exampleOf(policy), policy);
}

/** As little as an instance can be, so that only what no instance could keep is refused; memory is looked at with those that there are. */
function exampleOf({ id, name, project, createdAt, spec }: Policy): Instance {
  const { ceilingMib: _ceiling, balloonMib: _balloon, ...memory } = spec.limits.memory ?? {};
  const ceiling = { ceilingMib: 'auto' as const };
  return {
    id,
    name: `policy ${name}`,
    project,
    labels: {},
    revision: 0,
    createdAt,
    spec: {
      cpus: 1,
      memoryMib: Math.max(32, memory.reservationMib ?? 0),
      machine: 'q35',
      accelerator: 'auto',
      nics: [],
      disks: [
        {
          name: 'each',
          bus: 'virtio',
          slot: 0,
          device: 'disk',
          volume: id,
          readOnly: false,
          deleteOnTermination: false,
        },
      ],
      metadata: { enabled: false, tokens: 'required', hopLimit: 1 },
      restart: 'never',
      autostart: false,
      overcommit: false,
      policy: name,
      limits: { memory: ceiling },
    },
    status: { state: 'stopped', since: createdAt, agent: false, restarts: 0 },
  };
}

function usersOf({ instances }: Pick<Shared, 'instances'>, { name, project }: Policy): Instance[] {
  return [...instances.after()].filter(
    (instance) => instance.project === project && instance.spec.policy === name,
  );
}

function observed(shared: Shared, policy: Policy): Policy {
  return { ...policy, status: { instances: usersOf(shared, policy).map(({ name }) => name) } };
}
