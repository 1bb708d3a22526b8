import { describe, expect, it } from 'vitest';
import { dhcpText, dnsmasqConfig, hostsText, isServed } from './dnsmasq-config.ts';
import { network, port, second } from './plan.fixture.ts';

const setting = {
  interface: 'wbaaabbbbbbb',
  files: { directory: '/run/wirt/network/NETWORK1', leases: '/var/lib/wirt/network/NETWORK1.leases' },
  user: 'dnsmasq',
  group: 'nogroup',
  resolvConf: '/etc/resolv.conf',
};

describe('what dnsmasq is told', () => {
  it('of a network with both families', () => {
    expect(dnsmasqConfig(network, setting)).toMatchInlineSnapshot(`
      "# Written by wirtd for the network default; changes are lost.
      keep-in-foreground
      user=dnsmasq
      group=nogroup
      pid-file=
      log-facility=-
      log-async=25
      interface=wbaaabbbbbbb
      except-interface=lo
      bind-interfaces
      no-hosts
      no-poll
      addn-hosts=/run/wirt/network/NETWORK1/hosts
      domain-needed
      local=/wirt/
      domain=wirt,10.80.0.0/24,local
      domain=wirt,fd80::/64,local
      local-ttl=5
      cache-size=1000
      dns-forward-max=150
      resolv-file=/etc/resolv.conf
      dhcp-leasefile=/var/lib/wirt/network/NETWORK1.leases
      dhcp-hostsfile=/run/wirt/network/NETWORK1/dhcp-hosts
      dhcp-lease-max=65536
      dhcp-authoritative
      dhcp-ignore=tag:!known
      dhcp-ignore-names
      no-ping
      quiet-dhcp
      quiet-dhcp6
      quiet-ra
      dhcp-range=10.80.0.0,static,255.255.255.0,12h
      dhcp-option=option:router,10.80.0.1
      dhcp-option=option:classless-static-route,169.254.169.254/32,10.80.0.1,0.0.0.0/0,10.80.0.1
      dhcp-option=option:dns-server,10.80.0.1
      dhcp-option=option:domain-search,wirt
      dhcp-option=option:mtu,1500
      dhcp-range=fd80::,static,64,12h
      enable-ra
      ra-param=wbaaabbbbbbb,mtu:1500,200,1800
      dhcp-option=option6:dns-server,[fd80::1]
      dhcp-option=option6:domain-search,wirt
      "
    `);
  });

  it('of an isolated network: no way out, for packets and for questions', () => {
    const text = dnsmasqConfig({ ...network, kind: 'isolated' }, setting);
    expect(text).toContain('\nno-resolv\n');
    expect(text).not.toContain('resolv-file');
    expect(text).toContain('\ndhcp-option=option:router\n');
    expect(text).toContain('\ndhcp-option=option:classless-static-route,169.254.169.254/32,10.80.0.1\n');
    expect(text).toContain(',200,0\n');
  });

  it('of ports: a name for each address, and an address for each MAC', () => {
    expect(hostsText(network, [port(), second])).toBe(
      '10.80.0.5 web.wirt web\nfd80::5 web.wirt web\n10.80.0.6 db.wirt db\nfd80::5 db.wirt db\n',
    );
    const { ipv4: _, ipv6: __, ...without } = port({ mac: '02:00:00:00:00:09' });
    expect(dhcpText([port(), without])).toBe('02:00:00:00:00:01,10.80.0.5,[fd80::5],web\n');
  });

  it('is never a line that somebody else wrote', () => {
    expect(() => dnsmasqConfig({ ...network, domain: 'a\ndhcp-script=/bin/sh' }, setting)).toThrow(
      'cannot be served',
    );
    expect(() => dnsmasqConfig({ ...network, ipv4: { subnet: 'x', gateway: 'y' } }, setting)).toThrow(
      'cannot be served',
    );
  });

  it('is nothing where the uplink serves, or where there are no addresses', () => {
    expect(isServed(network)).toBe(true);
    expect(isServed({ ...network, kind: 'bridged' })).toBe(false);
    const { ipv4: _, ipv6: __, ...bare } = network;
    expect(isServed(bare)).toBe(false);
  });
});
