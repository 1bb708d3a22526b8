import { describe, expect, it } from 'vitest';
import { failuresIn } from './ip.ts';
import { parseLinks } from './link-state.ts';
import { parseRoutes } from './routes.ts';

describe('what ip says', () => {
  it('of a batch: each failure beside its line', () => {
    const changes = ['a', 'b', 'c', 'd'].map((line) => ({ line, wrong: '' }));
    const stderr =
      'Error: Unknown device type.\nCommand failed -:2\nioctl(TUNSETIFF): Device or resource busy\nCommand failed -:4\n';
    expect(failuresIn(stderr, changes).map(({ change, said }) => [change.line, said])).toEqual([
      ['b', 'Error: Unknown device type.'],
      ['d', 'ioctl(TUNSETIFF): Device or resource busy'],
    ]);
  });

  it('of links: what is compared, and nothing where there is nothing', () => {
    const links = [
      { ifname: 'lo', flags: ['LOOPBACK', 'UP'], mtu: 65_536, address: '00:00:00:00:00:00' },
      {},
      {
        ifname: 't0',
        ifalias: 'x',
        flags: [],
        mtu: 1500,
        master: 'b0',
        address: '02:00:00:00:00:01',
        linkinfo: { info_kind: 'tun', info_data: { type: 'tap', user: 5, group: 6, multi_queue: true } },
      },
      {
        ifname: 'b0',
        flags: ['UP'],
        mtu: 1500,
        linkinfo: { info_kind: 'bridge', info_data: { nf_call_iptables: 1, nf_call_ip6tables: 0 } },
      },
    ];
    const states = parseLinks(
      JSON.stringify(links),
      '[{"ifname":"lo","addr_info":[{"local":"::1","prefixlen":128}]},{}]',
    );
    expect([...states.keys()]).toEqual(['lo', 't0', 'b0']);
    expect(states.get('lo')).toMatchObject({ up: true, addresses: ['::1/128'] });
    expect(states.get('t0')).toMatchObject({
      up: false,
      alias: 'x',
      master: 'b0',
      tap: { uid: 5, gid: 6, multiQueue: true },
    });
    expect(states.get('b0')?.filtered).toBe(false);
    expect(parseLinks('', '').size).toBe(0);
  });

  it('of routes: subnets that lead elsewhere, from every table', () => {
    const routes = [
      { dst: 'default', gateway: '192.0.2.1', dev: 'eth0' },
      { dst: '0.0.0.0/1', dev: 'tun0' },
      { dst: '192.0.2.0/24', dev: 'eth0', protocol: 'kernel' },
      { dst: '198.51.100.7', dev: 'wg0', table: '51820' },
      { dst: '10.80.0.0/24', dev: 'wbours' },
      { type: 'local', dst: '192.0.2.2', dev: 'eth0', table: 'local' },
      { type: 'blackhole', dst: '203.0.113.0/24' },
      { dst: '2001:db8::/64', nexthops: [{ dev: 'eth1' }] },
      { dst: 'fe80::/64', dev: 'eth0' },
      { type: 'multicast', dst: 'ff00::/8', dev: 'eth0' },
    ];
    expect(parseRoutes(JSON.stringify(routes), (name) => name === 'wbours')).toEqual([
      { subnet: '192.0.2.0/24', interface: 'eth0' },
      { subnet: '198.51.100.7/32', interface: 'wg0' },
      { subnet: '203.0.113.0/24', interface: '' },
      { subnet: '2001:db8::/64', interface: 'eth1' },
    ]);
  });
});
