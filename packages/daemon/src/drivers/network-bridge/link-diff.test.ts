import { emptyNetworkPlan, type NetworkPlan } from '@wirt/core';
import { describe, expect, it } from 'vitest';
import { linkChanges } from './link-diff.ts';
import type { LinkState } from './link-state.ts';
import { desiredLinks, stateOf } from './links.ts';
import { createNames } from './names.ts';
import { network, plan, port, second } from './plan.fixture.ts';

const names = createNames('main');
type Links = Map<string, LinkState>;
const changes = (to: NetworkPlan, from: Links = new Map()) =>
  linkChanges(desiredLinks(to, names, from).links, from, names);
const after = (of: NetworkPlan): Links =>
  new Map([...desiredLinks(of, names, new Map()).links.values()].map((link) => [link.name, stateOf(link)]));
const lines = (to: NetworkPlan, from?: Links): string[] => {
  const { links, queueing, last } = changes(to, from);
  return [...links, ...queueing, ...last].map(({ line }) => line);
};

describe('the way from what is to what is wanted', () => {
  it('makes a network and its ports, and says nothing of what is as it should be', () => {
    expect(lines(plan)).toMatchInlineSnapshot(`
      [
        "link add name wbnoaot4dd3g address 02:f9:93:0e:50:0c type bridge forward_delay 0 stp_state 0 mcast_snooping 0 nf_call_iptables 1 nf_call_ip6tables 1",
        "link set dev wbnoaot4dd3g alias "wirt:main:network:NETWORK1" mtu 1500 addrgenmode none up",
        "tuntap add dev wtnoak437wap mode tap user 5001 group 6001",
        "link set dev wtnoak437wap alias "wirt:main:port:INSTANCE1:nic0" mtu 1500 addrgenmode none master wbnoaot4dd3g up",
        "tuntap add dev wtnoa2a6mwv5 mode tap user 5001 group 6001 multi_queue",
        "link set dev wtnoa2a6mwv5 alias "wirt:main:port:INSTANCE2:nic0" mtu 1500 addrgenmode none master wbnoaot4dd3g",
        "qdisc replace dev wtnoa2a6mwv5 root noqueue",
        "addr replace 10.80.0.1/24 dev wbnoaot4dd3g",
        "addr replace fd80::1/64 dev wbnoaot4dd3g nodad",
        "addr replace fe80::f9:93ff:fe0e:500c/64 dev wbnoaot4dd3g nodad",
        "link set dev wtnoa2a6mwv5 up",
      ]
    `);
    expect(changes(plan).bridgesMade).toEqual([names.bridge('NETWORK1')]);
    expect(lines(plan, after(plan))).toEqual([]);
  });

  it('adds a port by two lines, and takes one away by one', () => {
    const one = { ...plan, ports: [port()] };
    const three = { ...plan, ports: [...one.ports, port({ instance: 'INSTANCE3' })] };
    expect(lines(three, after(one))).toHaveLength(2);
    expect(lines(one, after(plan))).toEqual([`link del dev ${names.port(second)}`]);
  });

  it('takes many away at once, which the kernel waits for only once', () => {
    const ports = Array.from({ length: 5 }, (_none, index) => port({ instance: `I${index}` }));
    expect(lines(emptyNetworkPlan, after({ ...plan, ports })).at(-1)).toBe('link del group 1464422996');
  });

  it('never touches a tap that is right, and makes one anew for another owner', () => {
    const here = after(plan);
    here.delete(names.bridge('NETWORK1'));
    const back = lines(plan, here);
    expect(back.filter((line) => /tuntap|link del/.test(line))).toEqual([]);
    const other = port({ owner: { uid: 7, gid: 8 } });
    const anew = lines({ ...plan, ports: [other, second] }, after(plan));
    expect(anew.slice(0, 2)).toEqual([
      `link del dev ${names.port(other)}`,
      `tuntap add dev ${names.port(other)} mode tap user 7 group 8`,
    ]);
  });

  it('leaves a tap alone whose queues are planned otherwise, until its port goes', () => {
    const queued = (queues: number): NetworkPlan => ({ ...plan, ports: [port({ queues })] });
    expect(lines(queued(2), after(queued(1)))).toEqual([]);
    expect(lines(queued(1), after(queued(2)))).toEqual([]);
    const gone = after({ ...plan, ports: [] });
    expect(lines(queued(2), gone)[0]).toMatch(/^tuntap add dev \S+ .* multi_queue$/);
    expect(lines(queued(1), gone)[0]).not.toContain('multi_queue');
    // One that is down goes up as what it is.
    const name = names.port(port());
    const down = (queues: number): Links => {
      const here = after(queued(queues));
      const tap = here.get(name);
      if (tap === undefined) throw new Error('no tap');
      return here.set(name, { ...tap, up: false });
    };
    expect(lines(queued(2), down(1))).toEqual([`link set dev ${name} up`]);
    expect(lines(queued(1), down(2))[0]).toBe(`qdisc replace dev ${name} root noqueue`);
  });

  it('mends what is wrong with a bridge, and says what it was', () => {
    const here = after(plan);
    const name = names.bridge('NETWORK1');
    const bridge = here.get(name);
    if (bridge === undefined) throw new Error('no bridge');
    here.set(name, { ...bridge, up: false, filtered: false, mtu: 1400, addresses: [] });
    const { links, last } = changes(plan, here);
    expect(links.map(({ line }) => line)).toEqual([
      `link set dev ${name} mtu 1500 up type bridge nf_call_iptables 1 nf_call_ip6tables 1`,
    ]);
    expect(links[0]?.wrong).toBe(
      'the bridge of network default had another MTU, was down, passed frames by its firewall',
    );
    expect(last.map(({ wrong }) => wrong)).toContain(
      'the bridge of network default lacked the address 10.80.0.1/24',
    );
  });

  it('leaves what is not ours alone, and lets go of an uplink', () => {
    const eth = { name: 'eth1', kind: '', mtu: 1500, up: true, mac: '', addresses: [] };
    const bridged = {
      ...emptyNetworkPlan,
      networks: [{ ...network, kind: 'bridged' as const, uplink: { interface: 'eth1' } }],
    };
    const host = new Map([['eth1', eth]]);
    const made = desiredLinks(bridged, names, host);
    expect(made.uplinks.get('NETWORK1')).toBe('eth1');
    expect(linkChanges(made.links, host, names).links.map(({ line }) => line)).toContain(
      `link set dev eth1 master ${names.bridge('NETWORK1')}`,
    );
    const mine = { ...eth, master: names.bridge('NETWORK1') };
    const other = { ...plan, ports: [] };
    expect(lines(other, new Map([...after(other), ['eth1', mine]]))).toEqual(['link set dev eth1 nomaster']);
    expect(
      lines(emptyNetworkPlan, new Map([['docker0', { ...eth, name: 'docker0', kind: 'bridge' }]])),
    ).toEqual([]);
  });

  it('makes every network but one that cannot be, or whose addresses are another’s', () => {
    const bad = { ...network, id: 'BAD', name: 'bad', ipv4: { subnet: '10.0.0.0/99', gateway: '10.0.0.1' } };
    const same = {
      ...network,
      id: 'SAME',
      name: 'same',
      ipv4: { subnet: '10.80.0.128/25', gateway: '10.80.0.129' },
    };
    const { links, refused } = desiredLinks({ ...plan, networks: [network, bad, same] }, names, new Map());
    expect([...links.keys()]).toEqual([names.bridge('NETWORK1'), names.port(port()), names.port(second)]);
    expect(refused.map(({ error }) => error.details)).toEqual([
      { networks: ['BAD'] },
      { networks: ['SAME'] },
    ]);
  });
});
