import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  parseOtherEnd,
  parseTraffic,
  parseTraffics,
  ruleText,
  sameRule,
  trafficText,
} from './security-rule.ts';

describe('the traffic of a rule', () => {
  it.each([
    ['80', { protocol: 'tcp', fromPort: 80, toPort: 80 }],
    ['8000-8080', { protocol: 'tcp', fromPort: 8000, toPort: 8080 }],
    ['53/udp', { protocol: 'udp', fromPort: 53, toPort: 53 }],
    ['udp', { protocol: 'udp' }],
    ['any', { protocol: 'any' }],
    ['icmp', { protocol: 'icmp' }],
    ['icmp:8', { protocol: 'icmp', fromPort: 8 }],
    ['icmpv6:1:4', { protocol: 'icmpv6', fromPort: 1, toPort: 4 }],
  ])('is read from %s', (text, traffic) => {
    expect(parseTraffic(text)).toEqual(traffic);
  });

  it.each([
    ['http', 'takes 80, 8000-8080/tcp'],
    ['80/icmp', 'takes 80, 8000-8080/tcp'],
    ['90-80', 'has the lower port first: 80-90'],
    ['65536', 'has ports up to 65535'],
    ['icmp:256', 'has types and codes of ICMP from 0 to 255'],
  ])('is not read from %j', (text, reason) => {
    expect(() => parseTraffic(text)).toThrow(reason);
  });

  it('is written so that it is read as the same', () => {
    const texts = fc.oneof(
      fc.constantFrom('any', 'tcp', 'udp', 'icmp', 'icmpv6', 'icmp:8', 'icmpv6:128:0'),
      fc
        .tuple(fc.nat(65_535), fc.nat(65_535), fc.constantFrom('', '/tcp', '/udp'))
        .map(([a, b, protocol]) => `${Math.min(a, b)}-${Math.max(a, b)}${protocol}`),
    );
    fc.assert(
      fc.property(texts, (text) => {
        const traffic = parseTraffic(text);
        expect(parseTraffic(trafficText(traffic))).toEqual(traffic);
      }),
    );
  });
});

describe('several in a row', () => {
  it.each([
    ['80 53/udp any', ['80/tcp', '53/udp', 'any']],
    ['tcp 80 443', ['80/tcp', '443/tcp']],
    ['udp 53 tcp 80-90', ['53/udp', '80-90/tcp']],
    ['icmp 8 80/tcp', ['icmp:8', '80/tcp']],
    ['icmp 8 443/tcp 80', ['icmp:8', '443/tcp', '80/tcp']],
    ['tcp', ['tcp']],
    ['tcp icmp', ['tcp', 'icmp']],
  ])('are read from %s', (line, texts) => {
    expect(parseTraffics(line.split(' ')).map(trafficText)).toEqual(texts);
  });

  it.each([
    ['any 80', 'has no ports for any protocol'],
    ['icmp 8-9', 'takes 80, 8000-8080/tcp'],
    ['tcp 80/udp', 'names a protocol twice: "tcp 80/udp"'],
  ])('are not read from %s', (line, reason) => {
    expect(() => parseTraffics(line.split(' '))).toThrow(reason);
  });
});

describe('a rule', () => {
  it('has another end by subnet, address or group', () => {
    expect(parseOtherEnd('192.0.2.0/24')).toEqual({ cidr: '192.0.2.0/24' });
    expect(parseOtherEnd('192.0.2.7')).toEqual({ cidr: '192.0.2.7/32' });
    expect(parseOtherEnd('fd12::7')).toEqual({ cidr: 'fd12::7/128' });
    expect(parseOtherEnd('web')).toEqual({ group: 'web' });
    expect(parseOtherEnd('group:web')).toEqual({ group: 'web' });
  });

  it('is the same whatever the contract has filled in', () => {
    const asked = { direction: 'ingress', protocol: 'tcp', fromPort: 80, toPort: 80 } as const;
    expect(sameRule(asked, { direction: 'ingress', protocol: 'tcp', fromPort: 80 })).toBe(true);
    expect(sameRule(asked, { ...asked, direction: 'egress' })).toBe(false);
    expect(sameRule(asked, { ...asked, group: 'web' })).toBe(false);
    expect(ruleText({ ...asked, direction: 'egress', cidr: '10.0.0.0/8' })).toBe(
      'egress 80/tcp to 10.0.0.0/8',
    );
  });
});
