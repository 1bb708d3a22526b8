/** Security groups: their records. A change is in force on running guests when it is answered. */
import { type SecurityGroup, type SecurityRuleCreate, WirtError } from '@wirt/api';
import { namesOf } from '../domain/names.ts';
import { defaultRules, maxRules, rulesOf, takesAway } from '../domain/network/rules.ts';
import { pageOf } from '../domain/page.ts';
import type { Request, SecurityGroupActions } from './actions.ts';
import { allCards } from './cards.ts';
import { requireRevision } from './instance-state.ts';
import { unsupported } from './network-new.ts';
import { networksLane } from './network-state.ts';
import type { Shared } from './parts.ts';
import { commit, nameConflict, nameTaken } from './records.ts';

export function createSecurityGroupActions(shared: Shared): SecurityGroupActions {
  const { groups, store, lanes, faults, networking, operations } = shared;
  const { newId } = operations;
  /** In the lane of networks; in force when it returns. */
  const change = (
    request: Request,
    ref: string,
    changed: (group: SecurityGroup) => SecurityGroup,
  ): Promise<SecurityGroup> => changeGroup(shared, request, ref, changed);
  return {
    list: async ({ cursor, limit, project }) => {
      const { items, ...rest } = pageOf(groups.after(cursor), limit, (one) => one.project === project);
      return { items: items.map((group) => observed(shared, group)), ...rest };
    },
    get: async (ref) => observed(shared, groups.require(ref)),
    create: (_request, input) =>
      lanes.run(networksLane, async () => {
        const { name, project, labels, description } = input;
        if (shared.network.driver === 'user')
          throw unsupported(`Group ${name} would guard nothing: without root there are no security groups.`);
        if (groups.find(name, project) !== undefined) throw nameTaken('security-group', name);
        const rules = input.rules ?? defaultRules(name);
        requireRemotes(shared, { name, project }, rules);
        const group: SecurityGroup = {
          id: newId(),
          name,
          project,
          labels,
          revision: 0,
          createdAt: shared.clock.now(),
          spec: { description, rules: rulesOf(rules, [], newId) },
          status: { members: 0 },
        };
        // No card has it yet: there is nothing to bring into force.
        await commit(store, [groups.put(group)]).catch((error: unknown) => {
          throw nameConflict(error, 'security-group');
        });
        return observed(shared, groups.require(group.id));
      }),
    update: (request, ref, { description, labels, rules }) =>
      change(request, ref, (group) => {
        if (rules !== undefined) requireRemotes(shared, group, rules);
        return {
          ...group,
          labels: labels ?? group.labels,
          spec: {
            description: description ?? group.spec.description,
            rules: rules === undefined ? group.spec.rules : rulesOf(rules, group.spec.rules, newId),
          },
        };
      }),
    addRule: (request, ref, rule) =>
      change(request, ref, (group) => {
        requireRemotes(shared, group, [rule]);
        const rules = rulesOf([...group.spec.rules, rule], group.spec.rules, newId);
        if (rules.length === group.spec.rules.length) return group;
        if (rules.length <= maxRules) return { ...group, spec: { ...group.spec, rules } };
        throw new WirtError(
          'request.invalid',
          `Group ${group.name} has ${maxRules} rules, which is all it can have.`,
          { hint: 'Make a second group; a card can have several.' },
        );
      }),
    removeRule: (request, ref, id) =>
      change(request, ref, (group) => {
        const rules = group.spec.rules.filter((rule) => rule.id !== id);
        if (rules.length < group.spec.rules.length) return { ...group, spec: { ...group.spec, rules } };
        throw new WirtError('group.rule_not_found', `Group ${group.name} has no rule ${id}.`, {
          hint: `See \`wirt security-group show ${group.name}\`.`,
        });
      }),
    remove: async (_request, ref) => {
      const { id } = groups.require(ref);
      await lanes.run(networksLane, async () => {
        const group = groups.require(id);
        requireUnused(shared, group);
        await faults.at('security-group.remove/record');
        await commit(store, [groups.remove(group)]);
      });
      await networking.apply();
    },
  };
}

async function changeGroup(
  shared: Shared,
  request: Request,
  ref: string,
  changed: (group: SecurityGroup) => SecurityGroup,
): Promise<SecurityGroup> {
  const { groups, store, lanes, faults, networking } = shared;
  const { id } = groups.require(ref);
  await lanes.run(networksLane, async () => {
    const before = groups.require(id);
    requireRevision(before, request.ifRevision);
    const after = changed(before);
    if (after === before) return;
    await faults.at('security-group.update/record');
    const cut = takesAway(before.spec.rules, after.spec.rules) ? [networking.cut()] : [];
    await commit(store, [groups.put(after), ...cut]);
  });
  await faults.at('security-group.update/apply');
  // Also where nothing has changed: what was stored before may not be in force yet.
  await networking.apply();
  return observed(shared, groups.require(id));
}

/** Groups that rules name: those that there are, and the group itself. */
function requireRemotes(
  { groups }: Shared,
  { name, project }: Pick<SecurityGroup, 'name' | 'project'>,
  rules: readonly SecurityRuleCreate[],
): void {
  for (const { group } of rules) if (group !== undefined && group !== name) groups.require(group, project);
}

function membersOf(shared: Shared, { name, project }: SecurityGroup) {
  return [...allCards(shared)].filter(
    ({ instance, nic }) => instance.project === project && nic.securityGroups.includes(name),
  );
}

function observed(shared: Shared, group: SecurityGroup): SecurityGroup {
  return { ...group, status: { members: membersOf(shared, group).length } };
}

function requireUnused(shared: Shared, group: SecurityGroup): void {
  const cards = membersOf(shared, group);
  const [first] = cards;
  const users = [...new Set(cards.map(({ instance }) => instance))];
  if (first !== undefined)
    throw new WirtError('group.in_use', `Security group ${group.name} guards cards of ${namesOf(users)}.`, {
      hint: `Give them other groups first: \`wirt network groups ${first.instance.name}/${first.nic.name} GROUP…\`.`,
      details: { instances: users.map(({ name }) => name) },
    });
  const namers = [...shared.groups.after()].filter(
    ({ id, project, spec }) =>
      id !== group.id && project === group.project && spec.rules.some((rule) => rule.group === group.name),
  );
  if (namers.length === 0) return;
  throw new WirtError(
    'group.in_use',
    `Security group ${group.name} is named by rules of ${namesOf(namers)}.`,
    {
      hint: `Remove those rules first: \`wirt security-group show ${namers[0]?.name}\`.`,
      details: { groups: namers.map(({ name }) => name) },
    },
  );
}
