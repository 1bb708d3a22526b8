import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { holds, isForGuests, netmask, overlap, parseSubnet } from './subnet.ts';

const parse = (text: string) => {
  const subnet = parseSubnet(text);
  if (subnet === undefined) throw new Error(text);
  return subnet;
};

describe('a subnet', () => {
  it('is taken apart, and what is none is undefined', () => {
    expect(parse('10.80.0.0/24')).toEqual({ family: 4, address: '10.80.0.0', prefix: 24 });
    expect(parse('fd80::/64')).toEqual({ family: 6, address: 'fd80::', prefix: 64 });
    for (const text of [
      '',
      'x',
      '10.0.0.0',
      '10.0.0.0/33',
      '10.0.0/8',
      'fd80::/129',
      '10.0.0.0/8/8',
      'fe80::1%eth0/64',
      '1.2.3.4/-1',
    ])
      expect(parseSubnet(text)).toBeUndefined();
    fc.assert(fc.property(fc.string(), (text) => void parseSubnet(text)));
  });

  it('has a netmask', () => {
    expect([0, 8, 12, 24, 30, 32].map(netmask)).toEqual([
      '0.0.0.0',
      '255.0.0.0',
      '255.240.0.0',
      '255.255.255.0',
      '255.255.255.252',
      '255.255.255.255',
    ]);
  });

  it('is for guests unless it is all, one, or means something else', () => {
    for (const text of ['10.0.0.0/8', '192.168.4.0/29', 'fd80::/64', '2001:db8::/64'])
      expect(isForGuests(parse(text))).toBe(true);
    for (const text of [
      '0.0.0.0/0',
      '10.0.0.0/31',
      '127.0.0.0/8',
      '224.0.0.0/24',
      'fe80::/64',
      'ff02::/64',
      '::/0',
    ])
      expect(isForGuests(parse(text))).toBe(false);
  });

  it('holds its addresses, and overlaps what is in it', () => {
    expect(holds(parse('10.80.0.0/24'), '10.80.0.1')).toBe(true);
    expect(holds(parse('10.80.0.0/24'), '10.80.1.1')).toBe(false);
    expect(holds(parse('10.80.0.0/24'), 'fd80::1')).toBe(false);
    expect(overlap(parse('10.0.0.0/8'), parse('10.80.0.0/24'))).toBe(true);
    expect(overlap(parse('10.80.0.0/24'), parse('10.0.0.0/8'))).toBe(true);
    expect(overlap(parse('10.80.0.0/24'), parse('10.80.1.0/24'))).toBe(false);
    expect(overlap(parse('::/16'), parse('10.80.1.0/24'))).toBe(false);
  });
});
