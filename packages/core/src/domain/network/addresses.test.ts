import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chooseAddresses, highestFree } from './addresses.ts';
import { contains, parseAddress, parseSubnet } from './ip.ts';

const lab = { name: 'lab', ipv4: '10.80.0.0/24', ipv6: 'fd00:1::/64' };

describe('addresses of cards', () => {
  it('begin behind the gateway, at the same place in both families', () => {
    expect(chooseAddresses(lab, {}, new Map())).toEqual({ ipv4: '10.80.0.2', ipv6: 'fd00:1::2' });
    const taken = new Map([['10.80.0.2', 'nic0 of a']]);
    expect(chooseAddresses(lab, {}, taken)).toEqual({ ipv4: '10.80.0.3', ipv6: 'fd00:1::3' });
    expect(chooseAddresses(lab, { ipv4: '10.80.0.17' }, taken).ipv6).toBe('fd00:1::11');
  });

  it('are those that the network has subnets for', () => {
    expect(chooseAddresses({ ...lab, ipv4: null }, {}, new Map())).toEqual({ ipv6: 'fd00:1::2' });
    expect(chooseAddresses({ ...lab, ipv6: null }, {}, new Map())).toEqual({ ipv4: '10.80.0.2' });
    expect(chooseAddresses({ name: 'none' }, {}, new Map())).toEqual({});
  });

  it.each([
    ['10.80.0.0', 'it is the network’s own'],
    ['10.80.0.1', 'it is the gateway’s'],
    ['10.80.0.255', 'it is the broadcast address'],
    ['10.81.0.5', 'it is not of its subnet'],
    ['10.80.0.9', 'nic0 of web has it'],
  ])('are not %s: %s', (ipv4, why) => {
    const taken = new Map([['10.80.0.9', 'nic0 of web']]);
    expect(() => chooseAddresses(lab, { ipv4 }, taken)).toThrow(
      expect.objectContaining({
        code: 'network.address_taken',
        message: `${ipv4} cannot be an address on network lab: ${why}.`,
      }),
    );
  });

  it('may be the highest of an IPv6 subnet, and are kept in their canonical form', () => {
    expect(chooseAddresses(lab, { ipv6: 'FD00:1:0:0::00FF' }, new Map()).ipv6).toBe('fd00:1::ff');
    expect(chooseAddresses(lab, { ipv6: 'fd00:1::ffff:ffff:ffff:ffff' }, new Map()).ipv6).toBe(
      'fd00:1::ffff:ffff:ffff:ffff',
    );
    expect(() => chooseAddresses({ ...lab, ipv6: null }, { ipv6: 'fd00:1::5' }, new Map())).toThrow(
      'it has no IPv6 subnet',
    );
  });

  it('are given out until the last one, each once, and then say how many there were', () => {
    const taken = new Map<string, string>();
    for (let number = 0; number < 253; number += 1) {
      const { ipv4 = '' } = chooseAddresses({ name: 'lab', ipv4: lab.ipv4 }, {}, taken);
      expect(taken.has(ipv4)).toBe(false);
      taken.set(ipv4, `nic0 of guest${number}`);
    }
    expect(() => chooseAddresses({ name: 'lab', ipv4: lab.ipv4 }, {}, taken)).toThrow(
      expect.objectContaining({
        code: 'network.addresses_exhausted',
        message: 'Network lab (10.80.0.0/24) has 253 addresses for cards, and all are taken.',
      }),
    );
  });

  it('are always free ones of the subnet, whatever comes and goes', () => {
    const steps = fc.array(fc.oneof(fc.constant('come' as const), fc.integer({ min: 0, max: 20 })), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(steps, fc.integer({ min: 24, max: 29 }), (moves, prefix) => {
        const space = { name: 'n', ipv4: `10.9.8.0/${prefix}`, ipv6: 'fd00:9::/64' };
        const taken = new Map<string, string>();
        const held: { ipv4?: string; ipv6?: string }[] = [];
        for (const move of moves) {
          if (move === 'come') {
            if (held.length === 2 ** (32 - prefix) - 3) {
              expect(() => chooseAddresses(space, {}, taken)).toThrow('all are taken');
              continue;
            }
            const chosen = chooseAddresses(space, {}, taken);
            for (const address of [chosen.ipv4 ?? '', chosen.ipv6 ?? '']) {
              expect(taken.has(address)).toBe(false);
              const subnet = parseSubnet(address.includes(':') ? space.ipv6 : space.ipv4);
              const parsed = parseAddress(address);
              expect(subnet !== undefined && parsed !== undefined && contains(subnet, parsed)).toBe(true);
              taken.set(address, 'somebody');
            }
            held.push(chosen);
          } else {
            const [gone] = held.splice(move, 1);
            for (const address of [gone?.ipv4, gone?.ipv6]) if (address !== undefined) taken.delete(address);
          }
        }
      }),
    );
  });

  it('are found for a probe where guests get theirs last', () => {
    expect(highestFree(lab, 'ipv4', new Map([['10.80.0.254', 'x']]))).toBe('10.80.0.253');
    expect(highestFree({ name: 'none' }, 'ipv4', new Map())).toBeUndefined();
  });
});
