import type { AgentInterface } from '@wirt/qemu';
import { expect, it } from 'vitest';
import { guestAddresses } from './guest-addresses.ts';

const one = (...addresses: [string, 'ipv4' | 'ipv6'][]): AgentInterface => ({
  name: 'eth0',
  hardwareAddress: undefined,
  addresses: addresses.map(([address, family]) => ({ address, family, prefix: 24 })),
});

it('are those by which the guest may be reached', () => {
  const found = guestAddresses([
    one(['127.0.0.1', 'ipv4'], ['::1', 'ipv6']),
    one(
      ['10.0.2.15', 'ipv4'],
      ['169.254.3.4', 'ipv4'],
      ['fe80::1', 'ipv6'],
      ['fec0::5054:ff:fe12:3456', 'ipv6'],
    ),
    one(['10.0.2.15', 'ipv4']),
  ]);
  expect(found).toEqual(['10.0.2.15', 'fec0::5054:ff:fe12:3456']);
});

it('are addresses, whatever a guest says', () => {
  const found = guestAddresses([
    one(
      ['10.0.0.1; rm -rf /', 'ipv4'],
      ['', 'ipv4'],
      ['10.0.0.1', 'ipv6'],
      ['fe80::1%eth0\n', 'ipv6'],
      ['2001:db8::1%x', 'ipv6'],
    ),
  ]);
  expect(found).toEqual([]);
});

it('are 32 at most', () => {
  const many = Array.from({ length: 300 }, (_address, index): [string, 'ipv4'] => [
    `10.0.1.${index % 256}`,
    'ipv4',
  ]);
  expect(guestAddresses([one(...many)])).toHaveLength(32);
});
