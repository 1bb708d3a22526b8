/** Rules of security groups: those that a new group has, their one form, and whether two are the same. */
import { type SecurityRule, type SecurityRuleCreate, WirtError } from '@wirt/api';
import { parseSubnet, subnetText } from './ip.ts';

/** The group that cards have where none is named. Made on first use. */
export const defaultGroup = 'default';

export const maxRules = 1000;

const everythingOut: SecurityRuleCreate = { direction: 'egress', protocol: 'any' };

/** As in EC2: everything may go out; into `default`, what comes from itself. */
export function defaultRules(group: string): SecurityRuleCreate[] {
  if (group !== defaultGroup) return [everythingOut];
  return [everythingOut, { direction: 'ingress', protocol: 'any', group: defaultGroup }];
}

/** The one form of a rule: nothing undefined, the last port said, no bits behind the prefix. Throws `request.invalid`. */
export function normalRule(rule: SecurityRuleCreate): SecurityRuleCreate {
  const { direction, protocol, fromPort, group, description } = rule;
  const isIcmp = protocol === 'icmp' || protocol === 'icmpv6';
  const toPort = rule.toPort ?? (isIcmp ? undefined : fromPort);
  const cidr = rule.cidr === undefined ? undefined : normalCidr(rule.cidr);
  if (cidr !== undefined && isIcmp && cidr.includes(':') !== (protocol === 'icmpv6'))
    throw new WirtError('request.invalid', `A rule for ${protocol} cannot be for ${cidr}.`, {
      hint: 'ICMP is of IPv4 and ICMPv6 of IPv6.',
    });
  return {
    direction,
    protocol,
    ...(fromPort === undefined ? {} : { fromPort }),
    ...(toPort === undefined ? {} : { toPort }),
    ...(cidr === undefined ? {} : { cidr }),
    ...(group === undefined ? {} : { group }),
    ...(description === undefined ? {} : { description }),
  };
}

function normalCidr(text: string): string {
  const subnet = parseSubnet(text);
  if (subnet !== undefined) return subnetText(subnet);
  throw new WirtError('request.invalid', `${JSON.stringify(text)} is no subnet in CIDR notation.`);
}

/** Whether both allow the same; what they are called does not count. Both in their one form. */
export function sameRule(one: SecurityRuleCreate, other: SecurityRuleCreate): boolean {
  return (
    one.direction === other.direction &&
    one.protocol === other.protocol &&
    one.fromPort === other.fromPort &&
    one.toPort === other.toPort &&
    one.cidr === other.cidr &&
    one.group === other.group
  );
}

/** Rules in their one form and each once; those that were there before keep their ids. */
export function rulesOf(
  wanted: readonly SecurityRuleCreate[],
  before: readonly SecurityRule[],
  newId: () => string,
): SecurityRule[] {
  const rules: SecurityRule[] = [];
  for (const rule of wanted.map(normalRule)) {
    if (rules.some((one) => sameRule(one, rule))) continue;
    const former = before.find((one) => sameRule(one, rule));
    rules.push({ ...rule, id: former?.id ?? newId() });
  }
  return rules;
}

/** Whether `after` lacks something that `before` allowed. */
export function takesAway(before: readonly SecurityRule[], after: readonly SecurityRule[]): boolean {
  return before.some((rule) => !after.some((one) => sameRule(one, rule)));
}

/** `ingress tcp 80-90 from 10.0.0.0/8`, for messages. */
export function ruleText({ direction, protocol, fromPort, toPort, cidr, group }: SecurityRuleCreate): string {
  const ports =
    fromPort === undefined
      ? ''
      : ` ${fromPort}${toPort === undefined || toPort === fromPort ? '' : `-${toPort}`}`;
  const end = cidr ?? (group === undefined ? 'anywhere' : `group ${group}`);
  return `${direction} ${protocol}${ports} ${direction === 'ingress' ? 'from' : 'to'} ${end}`;
}
