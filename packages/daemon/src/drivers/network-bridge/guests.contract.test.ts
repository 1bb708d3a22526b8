// What guests have of the driver: addresses, names, routes, and no more. A guest is a network namespace at the other end of a tap that QEMU opens.
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { emptyNetworkPlan, type NetworkPlan, type PlannedPort } from '@wirt/core';
import { contractPlan, networkIds, testNetwork, testSubnets } from '@wirt/core/contract/network';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isRoot, type TestNetns } from '../../platform/netns.fixture.ts';
import { createTestHost, expectSoon, type TestHost } from './host.fixture.ts';
import type { RemoteDriver } from './remote.fixture.ts';

const group = {
  id: 'GROUP1',
  name: 'default',
  rules: [
    { id: 'RULE1', direction: 'ingress', protocol: 'any', group: 'default', groupId: 'GROUP1' },
    { id: 'RULE2', direction: 'egress', protocol: 'any' },
  ],
} as const;

function port(number: number, more: Partial<PlannedPort> = {}): PlannedPort {
  return {
    instance: `INSTANCE${number}`,
    nic: 'nic0',
    network: networkIds.one,
    hostname: ['web', 'db', 'mail'][number - 1] ?? `guest${number}`,
    mac: `02:00:00:00:01:0${number}`,
    ipv4: `10.181.0.1${number}`,
    ipv6: `fd00:181::1${number}`,
    groups: ['GROUP1'],
    publish: [],
    antiSpoofing: true,
    queues: 1,
    mtu: 1500,
    owner: { uid: 987_650, gid: 987_650 },
    ...more,
  };
}
const one = { ...testNetwork(1), ...testSubnets(1) };
const two = { ...testNetwork(2), ...testSubnets(2), kind: 'isolated' as const };
const plan = (ports: readonly PlannedPort[], networks: NetworkPlan['networks'] = [one]): NetworkPlan =>
  contractPlan({ networks, ports, groups: [group] });
const signal = (): AbortSignal => AbortSignal.timeout(30_000);

describe.skipIf(!isRoot)('guests on bridges (needs root)', () => {
  let host: TestHost;
  let driver: RemoteDriver;
  let script: string;
  beforeEach(async () => {
    host = await createTestHost();
    driver = await host.start();
    script = join(host.directory, 'udhcpc.sh');
    await writeFile(
      script,
      '#!/bin/sh\n[ "$1" = bound ] || exit 0\nip addr replace $ip/$mask dev $interface\n' +
        'set -- $staticroutes\nwhile [ -n "$2" ]; do ip route replace $1 via $2; shift 2; done\nenv\n',
    );
    await chmod(script, 0o755);
  });
  afterEach(async () => {
    await driver.apply(emptyNetworkPlan, signal());
    const left = await host.remains();
    await host.cleanUp();
    expect(left).toEqual([]);
  });

  /** What DHCP says, by the names of udhcpc, and sets it. */
  async function dhcp(guest: TestNetns, ...options: string[]): Promise<Record<string, string>> {
    const quick = [
      '-i',
      'eth0',
      '-f',
      '-q',
      '-n',
      '-t',
      '5',
      '-T',
      '1',
      '-s',
      script,
      '-O',
      'mtu',
      '-O',
      'staticroutes',
    ];
    const said = await guest.try('busybox', ['udhcpc', ...quick, ...options]);
    return Object.fromEntries(
      said.stdout.split('\n').map((line) => [line.split('=', 1)[0] ?? '', line.slice(line.indexOf('=') + 1)]),
    );
  }
  async function resolve(
    guest: TestNetns,
    name: string,
    server = '10.181.0.1',
    ...options: string[]
  ): Promise<string> {
    const { stdout, stderr } = await guest.try('busybox', ['nslookup', ...options, name, server]);
    return stdout + stderr;
  }

  it('get the address, name, MTU and routes of the record by DHCP, and the same again', async () => {
    await driver.apply(plan([port(1)]), signal());
    const guest = await host.guest(port(1));
    const lease = await dhcp(guest, '-x', 'hostname:impostor');
    expect(lease).toMatchObject({
      ip: '10.181.0.11',
      mask: '16',
      dns: '10.181.0.1',
      mtu: '1500',
      hostname: 'web',
      staticroutes: '169.254.169.254/32 10.181.0.1 0.0.0.0/0 10.181.0.1',
    });
    // The name that it gave itself is nobody's.
    expect(await resolve(guest, 'impostor.wirt')).toMatch(/NXDOMAIN|can't find/);
    const { ports } = await driver.observe(networkIds.one, signal());
    expect(ports[0]?.leases).toEqual([{ address: '10.181.0.11', untilMs: expect.any(Number) }]);
    expect(ports[0]?.counters?.sentPackets).toBeGreaterThan(2);
    // Another system on the same card calls itself otherwise.
    expect(await dhcp(guest, '-x', '0x3d:0102030405')).toMatchObject({ ip: '10.181.0.11' });
  });

  it('find each other by name, both ways, in IPv4 and IPv6, and leave no trace when they are gone', async () => {
    await driver.apply(plan([port(1)]), signal());
    const guest = await host.guest(port(1));
    await dhcp(guest);
    await driver.apply(plan([port(1), port(2)]), signal());
    for (const name of ['db.wirt', 'db'])
      await expectSoon(async () => (await resolve(guest, name)).includes('10.181.0.12'), name);
    expect(await resolve(guest, 'db.wirt', '10.181.0.1', '-type=aaaa')).toContain('fd00:181::12');
    expect(await resolve(guest, '10.181.0.12')).toContain('db.wirt');
    expect(await resolve(guest, 'fd00:181::12')).toContain('db.wirt');
    await driver.apply(plan([port(1)]), signal());
    await expectSoon(async () => /NXDOMAIN/.test(await resolve(guest, 'db.wirt')), 'the end of db.wirt');
  });

  it('reach each other and the gateway, and not those of another network', async () => {
    const other = port(3, { network: networkIds.two, ipv4: '10.182.0.13', ipv6: 'fd00:182::13' });
    await driver.apply(plan([port(1), port(2), other], [one, two]), signal());
    const [web, db, mail] = [await host.guest(port(1)), await host.guest(port(2)), await host.guest(other)];
    await Promise.all([dhcp(web), dhcp(db)]);
    // Nothing leads out of an isolated network.
    expect(await dhcp(mail)).toMatchObject({
      ip: '10.182.0.13',
      staticroutes: '169.254.169.254/32 10.182.0.1',
    });
    const ping = async (from: TestNetns, to: string): Promise<boolean> =>
      (await from.try('ping', ['-n', '-c', '1', '-W', '1', to])).exitCode === 0;
    expect(await ping(web, '10.181.0.12')).toBe(true);
    expect(await ping(web, '10.181.0.1')).toBe(true);
    expect(await ping(web, '10.182.0.13')).toBe(false);
    expect(await ping(mail, '10.181.0.11')).toBe(false);
  });

  it('hear of their IPv6 router, and what dnsmasq listens on is their bridge and nothing else', async () => {
    await driver.apply(plan([port(1)]), signal());
    const guest = await host.guest(port(1));
    await expectSoon(
      async () => (await guest.run('ip', ['-6', 'route'])).includes('default via fe80::'),
      'a router',
    );
    expect(await guest.run('ip', ['-6', 'route'])).toContain('fd00:181::/64');
    // It is told to ask for its address, and not to make one up.
    expect(await guest.run('ip', ['-6', 'addr', 'show', 'scope', 'global'])).toBe('');
    const bridge = driver.interfaceOf(networkIds.one);
    const sockets = (await host.netns.run('ss', ['-Hlntup']))
      .split('\n')
      .filter((line) => line.includes('dnsmasq'));
    expect(sockets.length).toBeGreaterThan(5);
    for (const socket of sockets) {
      const local = socket.split(/\s+/)[4] ?? '';
      expect(local).toMatch(
        new RegExp(`^(10\\.181\\.0\\.1:53|\\[fd00:181::1\\]:53|.*%${bridge}:(53|67|547))$`),
      );
    }
    const [pid] = await host.servers();
    expect(await host.netns.run('cat', [`/proc/${pid}/status`])).not.toMatch(/^Uid:\t0\t/m);
  });

  it('without a place in the plan get nothing, and with their address no other MAC does', async () => {
    await driver.apply(plan([port(1), port(2)]), signal());
    const guest = await host.guest(port(1));
    await guest.ip(
      'link set dev eth0 down',
      'link set dev eth0 address 02:00:00:00:77:77',
      'link set dev eth0 up',
    );
    expect(await dhcp(guest, '-A', '0', '-r', '10.181.0.12')).not.toHaveProperty('ip');
    await guest.ip(
      'link set dev eth0 down',
      `link set dev eth0 address ${port(1).mac}`,
      'link set dev eth0 up',
    );
    expect(await dhcp(guest, '-r', '10.181.0.12')).toMatchObject({ ip: '10.181.0.11' });
  });

  it('get an address that another one had, while its lease still runs', async () => {
    await driver.apply(plan([port(1)]), signal());
    const before = await host.guest(port(1));
    expect(await dhcp(before)).toMatchObject({ ip: '10.181.0.11' });
    const heir = port(2, { ipv4: '10.181.0.11' });
    await driver.apply(plan([heir]), signal());
    const after = await host.guest(heir);
    expect(await dhcp(after)).toMatchObject({ ip: '10.181.0.11', hostname: 'db' });
    expect(driver.logged.filter(({ level }) => level === 'error')).toEqual([]);
  });

  it('ask the host’s resolvers for other names, where the network forwards, and never from an isolated one', async () => {
    const resolvConf = join(host.directory, 'resolv.conf');
    await writeFile(resolvConf, 'nameserver 127.0.0.53\n');
    // As systemd-resolved does.
    const upstream = [
      '--keep-in-foreground',
      '--conf-file=/dev/null',
      '--no-resolv',
      '--no-hosts',
      '--port=53',
      '--bind-interfaces',
    ];
    host.netns.start('dnsmasq', [
      ...upstream,
      '--listen-address=127.0.0.53',
      '--address=/example.org/192.0.2.77',
      '--pid-file=',
    ]);
    await expectSoon(
      async () => (await resolve(host.netns, 'example.org', '127.0.0.53')).includes('192.0.2.77'),
      'a resolver',
    );
    await driver.kill();
    driver = await host.start({ resolvConf });
    const other = port(3, { network: networkIds.two, ipv4: '10.182.0.13' });
    await driver.apply(plan([port(1), other], [one, two]), signal());
    const [web, mail] = [await host.guest(port(1)), await host.guest(other)];
    await Promise.all([dhcp(web), dhcp(mail)]);
    expect(await resolve(web, 'example.org')).toContain('192.0.2.77');
    expect(await resolve(mail, 'example.org', '10.182.0.1')).not.toContain('192.0.2.77');
  });

  it('are not interrupted by the daemon’s death, its restart and changes beside them', async () => {
    await driver.apply(plan([port(1), port(2)]), signal());
    const [web, db] = [await host.guest(port(1)), await host.guest(port(2))];
    expect(await Promise.all([dhcp(web), dhcp(db)])).toMatchObject([
      { ip: '10.181.0.11' },
      { ip: '10.181.0.12' },
    ]);
    const pinging = web.start('ping', ['-n', '-i', '0.05', '-w', '4', '10.181.0.12']);
    let said = '';
    pinging.stdout?.on('data', (data: Buffer) => {
      said += data.toString();
    });
    const ended = new Promise((resolve) => pinging.once('exit', resolve));
    await expectSoon(() => said.includes('icmp_seq=3 '), 'an answer');
    await driver.kill();
    driver = await host.start();
    await driver.apply(plan([port(1), port(2)]), signal());
    await driver.apply(plan([port(1), port(2), port(3)]), signal());
    await driver.apply(plan([port(1), port(2)]), signal());
    await ended;
    // The last one was perhaps not answered before the end; of all others, each.
    const answered = [...said.matchAll(/icmp_seq=(\d+) /g)].map(([, number]) => Number(number));
    expect(answered.length).toBeGreaterThan(20);
    expect(answered).toEqual(answered.map((_number, index) => index + 1));
    expect(await dhcp(web)).toMatchObject({ ip: '10.181.0.11' });
  });
});
