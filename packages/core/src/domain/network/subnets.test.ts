import { WirtError } from '@wirt/api';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressText, contains, overlaps, parseAddress, parseSubnet, subnetText } from './ip.ts';
import { chooseIpv4, chooseIpv6, plannedSubnet, requireFree, requireSubnet } from './subnets.ts';

const id = '01JD0000000000000000000000';

function refusal(act: () => unknown): WirtError {
  try {
    act();
  } catch (error) {
    if (error instanceof WirtError) return error;
    throw error;
  }
  throw new Error('it was not refused');
}

const ipv4 = fc.ipV4();
const anySubnet = fc.oneof(
  fc.tuple(ipv4, fc.integer({ min: 0, max: 32 })).map(([address, prefix]) => `${address}/${prefix}`),
  fc.tuple(fc.ipV6(), fc.integer({ min: 0, max: 128 })).map(([address, prefix]) => `${address}/${prefix}`),
);

describe('addresses and subnets', () => {
  it('are read and written again as the same', () => {
    fc.assert(
      fc.property(fc.oneof(ipv4, fc.ipV6()), (text) => {
        const address = parseAddress(text);
        if (address === undefined) throw new Error(`${text} was not read`);
        expect(parseAddress(addressText(address))).toEqual(address);
      }),
    );
  });

  it.each([
    '',
    '10',
    '10.1',
    '0x0a000001',
    '010.0.0.1',
    '10.0.0.256',
    'fe80::1%eth0',
    '::g',
    '1.2.3.4.5',
    ' 10.0.0.1',
  ])('are not what only looks like one: %j', (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });

  it('hold their own first and last address, and overlap what holds them', () => {
    fc.assert(
      fc.property(anySubnet, anySubnet, (one, other) => {
        const [a, b] = [parseSubnet(one), parseSubnet(other)];
        if (a === undefined || b === undefined) throw new Error('not read');
        expect(contains(a, { family: a.family, value: a.first })).toBe(true);
        expect(contains(a, { family: a.family, value: a.last + 1n })).toBe(false);
        expect(parseSubnet(subnetText(a))).toEqual(a);
        expect(overlaps(a, b)).toBe(overlaps(b, a));
        expect(overlaps(a, b)).toBe(
          a.family === b.family &&
            (contains(a, { family: b.family, value: b.first }) ||
              contains(b, { family: a.family, value: a.first })),
        );
      }),
    );
  });
});

describe('the subnet of a network', () => {
  it.each(['10.0.0.0/8', '10.80.0.0/24', '192.168.7.0/29', '203.0.113.0/24'])('can be %s', (text) => {
    expect(subnetText(requireSubnet(text, 'ipv4'))).toBe(text);
  });

  it.each([
    ['10.80.0.1/24', 'Write 10.80.0.0/24.'],
    ['0.0.0.0/0', 'Choose another length.'],
    ['10.0.0.0/7', 'Choose another length.'],
    ['10.80.0.0/30', 'Choose another length.'],
    ['10.80.0.0/32', 'Choose another length.'],
    ['127.0.0.0/8', 'Choose one of'],
    ['169.254.169.0/24', 'Choose one of'],
    ['224.0.0.0/8', 'Choose one of'],
    ['255.255.255.0/24', 'Choose one of'],
    ['0.0.0.0/8', 'Choose one of'],
    ['fd00::/64', 'ADDRESS/LENGTH'],
    ['10.80.0.0', 'ADDRESS/LENGTH'],
    ['10.80.0.0/33', 'ADDRESS/LENGTH'],
    ['10.80.0.0/-1', 'ADDRESS/LENGTH'],
  ])('cannot be %s in IPv4, and the hint says what can', (text, hint) => {
    const error = refusal(() => requireSubnet(text, 'ipv4'));
    expect(error.code).toBe('network.subnet_conflict');
    expect(error.message).toContain(text);
    expect(error.hint).toContain(hint);
  });

  it.each([
    'fe80::/64',
    'ff02::/64',
    '::/64',
    'fd00::/48',
    'fd00::/65',
    'fd00::1/64',
    'fd00:ec2::/64',
    '64:ff9b::/64',
    '::ffff:0:0/64',
  ])('cannot be %s in IPv6', (text) => {
    expect(refusal(() => requireSubnet(text, 'ipv6')).code).toBe('network.subnet_conflict');
  });

  it('is refused, whatever the text, with one code and no other error', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), anySubnet), fc.constantFrom('ipv4', 'ipv6'), (text, family) => {
        try {
          expect(requireSubnet(text, family).family).toBe(family);
        } catch (error) {
          expect(error).toMatchObject({ code: 'network.subnet_conflict' });
        }
      }),
    );
  });

  it('must be free of routes of the host, and says which is in the way', () => {
    const taken = [
      { subnet: '192.168.0.0/16', by: 'the host’s route by eth0' },
      { subnet: '10.0.0.0/24', by: 'network lab' },
    ];
    const error = refusal(() => requireFree(requireSubnet('192.168.5.0/24', 'ipv4'), taken));
    expect(error.message).toBe(
      '192.168.5.0/24 overlaps 192.168.0.0/16, which is of the host’s route by eth0.',
    );
    expect(refusal(() => requireFree(requireSubnet('10.0.0.0/8', 'ipv4'), taken)).message).toContain(
      'network lab',
    );
    expect(() => requireFree(requireSubnet('10.0.1.0/24', 'ipv4'), taken)).not.toThrow();
  });

  it('has the host’s own address as its first', () => {
    expect(plannedSubnet('10.80.0.0/24')).toEqual({ subnet: '10.80.0.0/24', gateway: '10.80.0.1' });
    expect(plannedSubnet('fd00:1::/64')).toEqual({ subnet: 'fd00:1::/64', gateway: 'fd00:1::1' });
  });
});

describe('a chosen subnet', () => {
  const taken = fc.array(
    fc
      .tuple(
        fc.constantFrom(10, 172, 192),
        fc.integer({ min: 0, max: 255 }),
        fc.integer({ min: 0, max: 255 }),
        fc.integer({ min: 10, max: 32 }),
      )
      .map(([a, b, c, prefix]) => ({ subnet: `${a}.${b}.${c}.0/${prefix}`, by: 'the host' })),
    { maxLength: 40 },
  );

  it('can be one and is free, whatever is taken', () => {
    fc.assert(
      fc.property(taken, (others) => {
        let text: string;
        try {
          text = chooseIpv4(id, others);
        } catch (error) {
          expect(error).toMatchObject({ code: 'network.subnet_conflict' });
          return;
        }
        requireFree(requireSubnet(text, 'ipv4'), others);
      }),
    );
  });

  it('is another one for each network after the other, in both families', () => {
    const others: { subnet: string; by: string }[] = [];
    for (let number = 0; number < 300; number += 1) {
      for (const choose of [chooseIpv4, chooseIpv6]) {
        const subnet = choose(id, others);
        requireFree(requireSubnet(subnet, subnet.includes(':') ? 'ipv6' : 'ipv4'), others);
        others.push({ subnet, by: `network ${number}` });
      }
    }
  });

  it('differs from host to host', () => {
    expect(chooseIpv4(id, [])).not.toBe(chooseIpv4('01JD0000007ZZZZZZZZZZZZZZZ', []));
    expect(chooseIpv6(id, [])).not.toBe(chooseIpv6('01JD0000007ZZZZZZZZZZZZZZZ', []));
  });

  it('is looked for elsewhere where a VPN has all of 10.0.0.0/8, and nowhere when all is taken', () => {
    const by = 'tun0';
    expect(chooseIpv4(id, [{ subnet: '10.0.0.0/8', by }])).toMatch(/^172\./);
    const all = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'].map((subnet) => ({ subnet, by }));
    expect(refusal(() => chooseIpv4(id, all)).hint).toContain('--ipv4');
  });
});
