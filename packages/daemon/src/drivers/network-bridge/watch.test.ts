import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { desiredLinks, stateOf } from './links.ts';
import { createNames } from './names.ts';
import { plan, port } from './plan.fixture.ts';
import { contradicts, subjectOf } from './watch.ts';

const names = createNames('main');
const bridge = names.bridge('NETWORK1');
const tap = names.port(port());
const expected = new Map(
  [...desiredLinks(plan, names, new Map()).links.values()].map((link) => [link.name, stateOf(link)]),
);
const flags = '<BROADCAST,MULTICAST,UP,LOWER_UP>';

describe('what the kernel says of a link', () => {
  it.each([
    `7: ${tap}: ${flags} mtu 1500 qdisc noqueue master ${bridge} state UP group default \\    link/ether 02:00:00:00:00:01`,
    `7: ${tap}: <NO-CARRIER,BROADCAST,MULTICAST,UP> mtu 1500 qdisc mq master ${bridge} state DOWN`,
    `5: ${bridge}: ${flags} mtu 1500 qdisc noqueue state UP group default `,
    `5: ${bridge}    inet 10.80.0.1/24 scope global ${bridge}\\       valid_lft forever`,
    `Deleted 5: ${bridge}    inet 10.99.0.1/24 scope global ${bridge}`,
    `Deleted 9: eth7: ${flags} mtu 1500 state DOWN`,
    `7: ${tap}    bridge ${bridge} state forwarding`,
    'nonsense',
  ])('is as it should be, or none of ours: %s', (line) => {
    expect(contradicts(line, expected)).toBe(false);
  });

  it.each([
    `Deleted 5: ${bridge}: ${flags} mtu 1500 qdisc noop state DOWN group default `,
    `Deleted 5: ${bridge}    inet 10.80.0.1/24 scope global ${bridge}`,
    `7: ${tap}: ${flags} mtu 1500 qdisc noqueue state UP`,
    `7: ${tap}: ${flags} mtu 1500 qdisc noqueue master br0 state UP`,
    `7: ${tap}@if3: ${flags} mtu 1400 qdisc noqueue master ${bridge} state UP`,
    `5: ${bridge}: <BROADCAST,MULTICAST> mtu 1500 qdisc noqueue state DOWN`,
  ])('is not as it should be: %s', (line) => {
    expect(contradicts(line, expected)).toBe(true);
  });

  it('is of a link, or of one of its addresses', () => {
    expect(subjectOf(`Deleted 5: ${bridge}    inet6 fd80::1/64 scope global`)).toBe(`${bridge} fd80::1/64`);
    expect(subjectOf(`7: ${tap}@if3: ${flags} mtu 1400`)).toBe(`${tap} `);
    fc.assert(fc.property(fc.string(), (any) => void [subjectOf(any), contradicts(any, expected)]));
  });
});
