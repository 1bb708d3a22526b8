import { describe, expect, it } from 'vitest';
import { parseRouters, whyNotFloating } from './floating-refusals.ts';
import type { LinkState } from './link-state.ts';
import { createNames } from './names.ts';

const names = createNames('main');
const bridge = names.bridge('NETWORK1');
const link = (name: string, ...addresses: string[]): [string, LinkState] => [
  name,
  { name, kind: '', mtu: 1500, up: true, mac: '', addresses },
];
const ground = {
  links: new Map([
    link('lo', '127.0.0.1/8', '::1/128'),
    link('eth0', '198.51.100.2/24', '198.51.100.30/32', '2001:db8::2/64', 'fe80::1/64'),
    link('ptp0', '192.0.2.0/31'),
    link(bridge, '10.80.0.1/24', 'fd80::1/64'),
  ]),
  routers: new Set(parseRouters('[{"dst":"default","gateway":"198.51.100.1","dev":"eth0"}]')),
};
const why = (address: string, ...floating: string[]): string | undefined =>
  whyNotFloating(address, ground, names, new Set(floating))?.why;

describe('a floating address', () => {
  it('is a free one of a subnet that the host is in', () => {
    for (const free of ['198.51.100.9', '2001:db8::9', '2001:DB8:0::9', '192.0.2.1'])
      expect(why(free)).toBeUndefined();
  });

  it.each([
    ['198.51.100.2', 'the host’s own, on eth0'],
    ['198.51.100.30', 'the host’s own'],
    ['2001:db8:0:0::2', 'the host’s own'],
    ['10.80.0.1', 'the host’s own'],
    ['198.51.100.1', 'router'],
    ['198.51.100.0', 'network or broadcast'],
    ['198.51.100.255', 'network or broadcast'],
    ['203.0.113.5', 'no interface'],
    ['10.80.0.9', 'for guests'],
    ['127.0.0.2', 'loopback'],
    ['::1', 'loopback'],
    ['224.0.0.1', 'multicast'],
    ['ff02::1', 'multicast'],
    ['169.254.1.1', 'link-local'],
    ['fe80::2', 'link-local'],
    ['0.0.0.0', 'no address'],
    ['255.255.255.255', 'no address of a host'],
    ['::ffff:198.51.100.9', 'IPv4'],
    ['fe80::1%eth0', 'no IP address'],
    ['none', 'no IP address'],
  ])('is not %s', (address, says) => {
    expect(why(address)).toContain(says);
  });

  it('may be the one that is on the host for a card already, and not one that the host had in another way', () => {
    expect(why('198.51.100.30', '198.51.100.30')).toBeUndefined();
    expect(why('198.51.100.2', '198.51.100.2')).toContain('own');
  });

  it('is none of any router: also of several ways, and of another family', () => {
    expect(
      parseRouters('[{"dst":"default","nexthops":[{"gateway":"10.0.0.1"},{"via":{"host":"FE80::0:1"}}]},{}]'),
    ).toEqual(['10.0.0.1', 'fe80::1']);
    expect(parseRouters('')).toEqual([]);
  });
});
