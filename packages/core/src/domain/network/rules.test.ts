import { securityRuleCreateSchema } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { defaultRules, normalRule, rulesOf, ruleText, sameRule, takesAway } from './rules.ts';

let number = 0;
const newId = () => {
  number += 1;
  return `rule-${number}`;
};
const rule = (given: object) => securityRuleCreateSchema.parse(given);

describe('rules of security groups', () => {
  it('are, for a new group, that everything may go out, and for default also what comes from itself', () => {
    expect(defaultRules('web').map(ruleText)).toEqual(['egress any to anywhere']);
    expect(defaultRules('default').map(ruleText)).toEqual([
      'egress any to anywhere',
      'ingress any from group default',
    ]);
  });

  it('have one form, by which the same are known', () => {
    const one = normalRule(rule({ fromPort: 80, cidr: '10.0.0.7/8' }));
    expect(one).toEqual({
      direction: 'ingress',
      protocol: 'tcp',
      fromPort: 80,
      toPort: 80,
      cidr: '10.0.0.0/8',
    });
    expect(
      sameRule(one, normalRule(rule({ fromPort: 80, toPort: 80, cidr: '10.255.0.0/8', description: 'x' }))),
    ).toBe(true);
    expect(sameRule(one, normalRule(rule({ fromPort: 80, toPort: 81, cidr: '10.0.0.0/8' })))).toBe(false);
    expect(normalRule(rule({ cidr: 'FD00:0::1/64' })).cidr).toBe('fd00::/64');
  });

  it('are there once, and keep their ids when all are replaced', () => {
    const before = rulesOf(
      [rule({ fromPort: 80 }), rule({ fromPort: 80, toPort: 80 }), rule({ fromPort: 443 })],
      [],
      newId,
    );
    expect(before.map(ruleText)).toEqual(['ingress tcp 80 from anywhere', 'ingress tcp 443 from anywhere']);
    const after = rulesOf([rule({ fromPort: 443 }), rule({ fromPort: 22 })], before, newId);
    expect(after[0]?.id).toBe(before[1]?.id);
    expect(takesAway(before, after)).toBe(true);
    expect(takesAway(after, [...after, ...before])).toBe(false);
  });

  it('are of one family', () => {
    expect(() => normalRule(rule({ protocol: 'icmp', cidr: 'fd00::/64' }))).toThrow(
      'A rule for icmp cannot be for fd00::/64.',
    );
    expect(() => normalRule(rule({ protocol: 'icmpv6', cidr: '10.0.0.0/8' }))).toThrow('icmpv6');
    expect(normalRule(rule({ protocol: 'icmp', fromPort: 8, cidr: '10.0.0.0/8' }))).not.toHaveProperty(
      'toPort',
    );
  });
});
