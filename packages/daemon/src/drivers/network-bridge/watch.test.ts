import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { desiredLinks, stateOf } from './links.ts';
import { createNames } from './names.ts';
import { plan, port } from './plan.fixture.ts';
import { contradicts, interfaceOf, subjectOf } from './watch.ts';

const names = createNames('main');
const bridge = names.bridge('NETWORK1');
const tap = names.port(port());
const expected = new Map(
  [...desiredLinks(plan, names, new Map()).links.values()].map((link) => [link.name, stateOf(link)]),
);
const flags = '<BROADCAST,MULTICAST,UP,LOWER_UP>';

const words = 'nf_call_iptables 1 nf_call_ip6tables 1';
const whole = (name: string, mac: string, master: string, alias: string, filtered = words): string =>
  `7: ${name}: ${flags} mtu 1500 qdisc noqueue${master} state UP group default \\    link/ether ${mac} brd ff:ff \\    bridge ${filtered} numtxqueues 1 \\    alias ${alias}`;
const mac = expected.get(bridge)?.mac ?? '';
const bridgeAlias = names.alias('bridge', 'NETWORK1');
const tapAlias = names.alias('port', 'INSTANCE1', 'nic0');

describe('what the kernel says of a link', () => {
  it.each([
    whole(tap, '02:00:00:00:00:01', ` master ${bridge}`, tapAlias, ''),
    whole(bridge, mac, '', bridgeAlias),
    `7: ${tap}: ${flags} mtu 1500 master ${bridge} state UP \\    link/ether 02:00:00:00:00:01`,
    `7: ${tap}: <NO-CARRIER,BROADCAST,MULTICAST,UP> mtu 1500 qdisc mq master ${bridge} state DOWN`,
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
    whole(tap, '02:00:00:00:00:01', ` master ${bridge}`, 'something'),
    whole(bridge, '02:00:00:00:00:99', '', bridgeAlias),
    whole(bridge, mac, '', bridgeAlias, 'nf_call_iptables 0 nf_call_ip6tables 1'),
    whole(bridge, mac, '', bridgeAlias, 'nf_call_iptables 1 nf_call_ip6tables 0'),
    `5: ${bridge}: ${flags} mtu 1500 qdisc noqueue state UP group default `,
    `5: ${bridge}: <BROADCAST,MULTICAST> mtu 1500 qdisc noqueue state DOWN`,
  ])('is not as it should be: %s', (line) => {
    expect(contradicts(line, expected)).toBe(true);
  });

  it('is of a link, or of one of its addresses', () => {
    expect(subjectOf(`Deleted 5: ${bridge}    inet6 fd80::1/64 scope global`)).toBe(`${bridge} fd80::1/64`);
    expect(subjectOf(`7: ${tap}@if3: ${flags} mtu 1400 group default`)).toBe(`${tap} `);
    // As a port it is a subject of its own, that hides nothing of what is said of the link.
    expect(subjectOf(`7: ${tap}@if3: ${flags} mtu 1400 master br0`)).toBe(`${tap} port`);
    fc.assert(fc.property(fc.string(), (any) => void [subjectOf(any), contradicts(any, expected)]));
  });
});

describe('what the kernel says of queueing disciplines', () => {
  it.each([
    [`deleted qdisc tbf aa93: dev ${tap} root rate 8Mbit burst 64Kb lat 65.5ms `, tap],
    [`qdisc tbf aa97: dev ${tap} root refcnt 2 rate 12Mbit burst 64Kb lat 43.7ms `, tap],
    [`deleted filter dev ${tap} ingress protocol all pref 1 u32 chain 0 `, tap],
    [`deleted qdisc ingress ffff: dev if17 parent ffff:fff1 ---------------- `, 'if17'],
    ['\taction order 1: mirred (Egress Redirect to device wf1) stolen', undefined],
    ['nonsense', undefined],
  ])('names an interface: %s', (line, name) => {
    expect(interfaceOf(line)).toBe(name);
  });
});
