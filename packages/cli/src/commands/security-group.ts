/** `wirt security-group ls|show|create|rm|allow|revoke`. Which cards have a group is in nic. */
import type { SecurityGroup } from '@wirt/api';
import { WirtError } from '@wirt/api/errors';
import { type Commands, type Context, command, type OptionValues } from '../command.ts';
import { lineView } from '../follow.ts';
import { limitOf, moreNote, pagingOptions, readPages } from '../paging.ts';
import { usageError } from '../parse.ts';
import type { View } from '../print.ts';
import {
  otherEndText,
  parseOtherEnd,
  parseTraffics,
  ruleText,
  sameRule,
  trafficText,
} from '../security-rule.ts';
import type { Cell } from '../table.ts';
import { readAs } from './nic-card.ts';
import { forEach } from './side-by-side.ts';

const groupArgument = {
  group: { summary: 'Name or id of the security group', complete: 'security-group' },
} as const;

const ls = command({
  arguments: {},
  options: pagingOptions,
  examples: [
    { line: 'wirt security-group ls', does: 'How many rules each has, and how many cards have it.' },
  ],
  async run(context, { options }) {
    const { items, more } = await readPages(
      (query) => context.client.call('GET /v1/security-groups', { query }),
      limitOf(options),
    );
    if (more) context.note(moreNote);
    const rows = items.map(({ name, spec, status }): Cell[] => [
      name,
      String(spec.rules.length),
      String(status.members),
      spec.description || '-',
    ]);
    const columns = ['NAME', 'RULES', 'CARDS', 'DESCRIPTION'];
    const empty = 'No security groups. The group “default” is made when the first instance wants it.';
    return {
      view: {
        data: items,
        names: items.map(({ name }) => name),
        table: () => [{ kind: 'table', columns, rows, empty }],
      },
    };
  },
});

function groupView(group: SecurityGroup): View {
  const { spec, status } = group;
  return {
    data: group,
    names: [group.name],
    table: () => [
      {
        kind: 'fields',
        fields: [
          ['Name', { text: group.name, tone: 'bold' }],
          ['Id', group.id],
          ...(spec.description === '' ? [] : [['Description', spec.description] as const]),
          ['Cards', String(status.members)],
          ['Created', group.createdAt],
        ],
      },
      {
        kind: 'table',
        title: 'Allowed, and replies to it',
        columns: ['DIRECTION', 'TRAFFIC', 'OTHER END', 'RULE', 'DESCRIPTION'],
        rows: spec.rules.map((rule): Cell[] => [
          rule.direction,
          trafficText(rule),
          otherEndText(rule),
          rule.id,
          rule.description ?? '-',
        ]),
        empty: 'No rules: nothing but replies comes in, and nothing goes out.',
      },
      { kind: 'fields', title: 'Labels', fields: Object.entries(group.labels) },
    ],
  };
}

const show = command({
  arguments: groupArgument,
  options: {},
  examples: [{ line: 'wirt security-group show web', does: 'Its rules, with the ids that revoke takes.' }],
  async run(context, { args }) {
    return { view: groupView(await getGroup(context, args.group)) };
  },
});

function getGroup(context: Context, group: string): Promise<SecurityGroup> {
  return context.client.call('GET /v1/security-groups/{group}', { params: { group } });
}

const create = command({
  arguments: { name: { summary: 'Name of the security group' } },
  options: {
    description: { kind: 'text', value: 'TEXT', short: 'd', summary: 'What it is for' },
    'no-egress': { kind: 'flag', summary: 'Without the rule that lets everything out' },
    label: { kind: 'pair', value: 'KEY=VALUE', short: 'l', many: true, summary: 'A label' },
  },
  examples: [
    { line: 'wirt security-group create web', does: 'Everything may go out, and replies come in.' },
    { line: 'wirt security-group create vault --no-egress', does: 'Nothing may, until it is allowed.' },
  ],
  async run(context, { args, options }) {
    const { description, label } = options;
    const group = await context.client.call('POST /v1/security-groups', {
      body: {
        name: args.name,
        labels: Object.fromEntries(label),
        ...(description === undefined ? {} : { description }),
        ...(options['no-egress'] ? { rules: [] } : {}),
      },
    });
    const line = `Security group ${group.name} is there; allow something: wirt security-group allow ${group.name} 80`;
    return { view: lineView(group, group.name, line) };
  },
});

const rm = command({
  arguments: {
    group: { summary: 'Names or ids of security groups', many: true, complete: 'security-group' },
  },
  options: {},
  examples: [{ line: 'wirt security-group rm web', does: 'Refused while a card or a rule uses it.' }],
  run: (context, { args }) =>
    forEach(args.group, async (group) => {
      await context.client.call('DELETE /v1/security-groups/{group}', { params: { group } });
      const record = { name: group, removed: true };
      return { name: group, line: `Security group ${group} is removed`, record };
    }),
});

const endOptions = {
  from: {
    kind: 'text',
    value: 'CIDR|GROUP',
    complete: 'security-group',
    summary: 'Comes in from this subnet, address or security group (default anybody)',
  },
  to: {
    kind: 'text',
    value: 'CIDR|GROUP',
    complete: 'security-group',
    summary: 'Goes out to this subnet, address or security group, instead of coming in',
  },
  egress: { kind: 'flag', summary: 'Goes out, to anybody' },
} as const;

const trafficSummary = '80, tcp 80, 8000-8080/tcp, 53/udp, tcp, udp, icmp, icmp 8, icmpv6 or any';

/** The rules that a command line means. */
function rulesOf(command: string, traffic: readonly string[], options: OptionValues<typeof endOptions>) {
  const { from, to, egress } = options;
  if (from !== undefined && (to !== undefined || egress))
    throw usageError(command, '--from is for what comes in, --to and --egress are for what goes out.');
  const other = from ?? to;
  const direction = to !== undefined || egress ? ('egress' as const) : ('ingress' as const);
  return readAs(command, 'TRAFFIC', () => parseTraffics(traffic)).map((each) => ({
    direction,
    ...each,
    ...(other === undefined ? {} : parseOtherEnd(other)),
  }));
}

const allow = command({
  arguments: { ...groupArgument, traffic: { summary: trafficSummary, many: true } },
  options: {
    ...endOptions,
    description: { kind: 'text', value: 'TEXT', short: 'd', summary: 'What it is for' },
  },
  examples: [
    { line: 'wirt security-group allow web 80 443', does: 'From anybody, by IPv4 and IPv6.' },
    { line: 'wirt security-group allow db 5432 --from web', does: 'From cards that have the group web.' },
    { line: 'wirt security-group allow vault 443 --to 192.0.2.0/24', does: 'Out to a subnet.' },
  ],
  notes: ['In force on running guests when the command returns.'],
  async run(context, { args, options }) {
    const rules = rulesOf('security-group allow', args.traffic, options);
    const { description } = options;
    let group: SecurityGroup | undefined;
    for (const rule of rules)
      group = await context.client.call('POST /v1/security-groups/{group}/rules', {
        params: { group: args.group },
        body: { ...rule, ...(description === undefined ? {} : { description }) },
      });
    const name = group?.name ?? args.group;
    return { view: lineView(group, name, ...rules.map((rule) => `${name} allows ${ruleText(rule)}`)) };
  },
});

const revoke = command({
  arguments: {
    ...groupArgument,
    rule: { summary: 'Ids of rules, or traffic as allow takes it', many: true, complete: 'rule' },
  },
  options: endOptions,
  examples: [
    { line: 'wirt security-group revoke web 80', does: 'Connections that only this rule allowed are cut.' },
    { line: 'wirt security-group revoke db 5432 --from web', does: 'As it was allowed.' },
    { line: 'wirt security-group revoke web 01KATESTTESTTESTTESTTESTR1', does: 'By the rule’s id.' },
  ],
  async run(context, { args, options }) {
    const found = await getGroup(context, args.group);
    const ids = ruleIdsOf(found, args.rule, options);
    let group = found;
    for (const rule of ids)
      group = await context.client.call('DELETE /v1/security-groups/{group}/rules/{rule}', {
        params: { group: found.id, rule },
      });
    const lines = found.spec.rules
      .filter(({ id }) => ids.includes(id))
      .map((rule) => `${found.name} allows ${ruleText(rule)} no more`);
    return { view: lineView(group, group.name, ...lines) };
  },
});

const ruleId = /^[0-9A-HJKMNP-TV-Z]{26}$/;

/** Of rules that are there: nothing is removed when one of them is not. */
function ruleIdsOf(
  group: SecurityGroup,
  words: readonly string[],
  options: OptionValues<typeof endOptions>,
): string[] {
  const { rules } = group.spec;
  const byId = words.filter((word) => ruleId.test(word));
  const missing = byId.find((word) => !rules.some(({ id }) => id === word));
  if (missing !== undefined) throw noRule(group, missing);
  const traffic = words.filter((word) => !ruleId.test(word));
  const wanted = rulesOf('security-group revoke', traffic, options);
  const byTraffic = wanted.map((each) => {
    const rule = rules.find((one) => sameRule(one, each));
    if (rule === undefined) throw noRule(group, ruleText(each));
    return rule.id;
  });
  return [...new Set([...byTraffic, ...byId])];
}

function noRule({ name }: SecurityGroup, text: string): WirtError {
  return new WirtError('group.rule_not_found', `Security group ${name} has no rule ${text}.`, {
    hint: `See \`wirt security-group show ${name}\`.`,
  });
}

export const commands: Commands = {
  'security-group ls': ls,
  'security-group show': show,
  'security-group create': create,
  'security-group rm': rm,
  'security-group allow': allow,
  'security-group revoke': revoke,
};
