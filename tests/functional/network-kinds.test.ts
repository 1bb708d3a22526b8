// Networks that are more than the default one: routed, on a LAN, in IPv6, with another MTU; and a guest that floods DHCP.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { uplink } from './harness/namespace.ts';
import { type Networked, networked } from './harness/networked.ts';

let net: Networked;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wirt-lan-'));
  net = await networked();
});

afterAll(async () => {
  try {
    await net.clear();
    expect(await net.daemon.remains()).toEqual([]);
  } finally {
    await net[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  }
});

const pings = async (guest: string, address: string, version: 4 | 6 = 4): Promise<boolean> =>
  (await net.sh(guest, `${version === 6 ? 'ping6' : 'ping'} -c 1 -W 3 ${address}`)).exitCode === 0;

const serve = (guest: string, port: number) =>
  net.sh(guest, `nc -ll -p ${port} -e echo hello-from-${guest} </dev/null >/dev/null 2>&1 &`);

describe('a routed network', () => {
  beforeAll(async () => {
    await net.cli(
      'network',
      'create',
      'routed',
      '--kind',
      'routed',
      '--ipv4',
      '10.200.0.0/24',
      '--ipv6',
      'none',
    );
    await net.cli('security-group', 'create', 'open');
    await net.cli('security-group', 'allow', 'open', 'tcp', '80');
    await net.guest('router', [{ network: 'routed', securityGroups: ['open'] }]);
    await serve('router', 80);
    await serve('router', 81);
    await net.network.outside.run('ip', 'route', 'replace', '10.200.0.0/24', 'via', uplink.inside);
  });

  it('is reached from outside at its own addresses, as far as groups allow', async () => {
    const at = await net.address('router');
    const from = (port: string) => net.network.outside.run('busybox', 'nc', '-w', '3', at, port);
    expect((await from('80')).trim()).toBe('hello-from-router');
    await expect(from('81')).rejects.toThrow();
  });

  it('reaches the outside with its own addresses, which has a route to them', async () => {
    expect(await pings('router', uplink.outside)).toBe(true);
    await net.network.outside.run('ip', 'route', 'del', '10.200.0.0/24');
    expect(await pings('router', uplink.outside)).toBe(false);
  });
});

describe('a network on a LAN', () => {
  beforeAll(async () => {
    const { inside, outside } = net.network;
    const outsideName = outside.enter[1]?.replace('--net=/run/netns/', '') ?? '';
    await inside.run(
      'ip',
      'link',
      'add',
      'lan0',
      'type',
      'veth',
      'peer',
      'name',
      'lan1',
      'netns',
      outsideName,
    );
    await inside.run('ip', 'link', 'set', 'lan0', 'up');
    await outside.run('ip', 'addr', 'add', '198.51.100.1/24', 'dev', 'lan1');
    await outside.run('ip', 'link', 'set', 'lan1', 'up');
    const config = join(folder, 'udhcpd.conf');
    const lines = [
      'start 198.51.100.50',
      'end 198.51.100.60',
      'interface lan1',
      'option subnet 255.255.255.0',
    ];
    await writeFile(
      config,
      `${lines.join('\n')}\nlease_file ${join(folder, 'leases')}\npidfile ${join(folder, 'pid')}\n`,
    );
    await writeFile(join(folder, 'leases'), '');
    outside.start('busybox', 'udhcpd', '-f', '-S', config);
    await net.cli('network', 'create', 'lan', '--uplink', 'lan0');
    await net.guest('member', [{ network: 'lan' }]);
    await serve('member', 80);
  });

  it('has its addresses from there, and reaches it', async () => {
    const { text } = await net.sh('member', 'ip -4 -o addr show eth0');
    expect(text).toMatch(/inet 198\.51\.100\.(5\d|60)\/24/);
    expect(await pings('member', '198.51.100.1')).toBe(true);
  });

  it('is reached from there as far as its groups allow', async () => {
    const { text } = await net.sh('member', 'ip -4 -o addr show eth0');
    const address = /inet ([\d.]+)/.exec(text)?.[1] ?? '';
    const from = () => net.network.outside.run('busybox', 'nc', '-w', '3', address, '80');
    await expect(from()).rejects.toThrow();
    await net.cli('network', 'groups', 'member', 'default', 'open');
    expect((await from()).trim()).toBe('hello-from-member');
  });
});

describe('IPv6', () => {
  /** Until the guest knows that nobody else has its addresses. */
  const settled =
    'for i in $(seq 50); do ip -6 addr show dev eth0 | grep -q tentative || break; usleep 100000; done';
  const ipv6Of = async (name: string) => (await net.instance(name)).spec.nics[0]?.ipv6 ?? '';

  beforeAll(async () => {
    const { inside, outside } = net.network;
    await inside.run('ip', 'addr', 'add', '2001:db8:1::1/64', 'dev', uplink.interface, 'nodad');
    await outside.run('ip', 'addr', 'add', '2001:db8:1::2/64', 'dev', 'up1', 'nodad');
    await Promise.all([net.guest('six'), net.guest('seven')]);
    const gateway = (await net.networkOf('default')).status.gateways.find((each) => each.includes(':'));
    for (const name of ['six', 'seven'])
      await net.sh(
        name,
        `ip -6 addr add ${await ipv6Of(name)}/64 dev eth0; ${settled}; ip -6 route replace default via ${gateway}`,
      );
  });

  it('leads from guest to guest, by name too', async () => {
    expect(await pings('six', await ipv6Of('seven'), 6)).toBe(true);
    expect((await net.sh('six', 'nslookup -type=aaaa seven.wirt')).text).toContain(await ipv6Of('seven'));
  });

  it('leads to the outside by the host’s address', async () => {
    expect(await pings('six', '2001:db8:1::2', 6)).toBe(true);
  });

  it('lets no guest use another’s address', async () => {
    const [own, other] = [await ipv6Of('six'), await ipv6Of('seven')];
    const gateway = (await net.networkOf('default')).status.gateways.find((each) => each.includes(':'));
    await net.sh('six', `ip -6 addr add ${other}/128 dev eth0; ${settled}`);
    expect((await net.sh('six', `ping6 -c 1 -W 1 -I ${other} ${gateway}`)).exitCode).not.toBe(0);
    await net.sh('six', `ip -6 addr del ${other}/128 dev eth0`);
    expect((await net.sh('six', `ping6 -c 1 -W 3 -I ${own} ${gateway}`)).exitCode).toBe(0);
  });
});

it('gives a card the MTU of its network, and a pair of queues for each vCPU', async () => {
  await net.cli('network', 'create', 'narrow', '--mtu', '1400');
  await net.guest('wide', [{ network: 'narrow' }], {
    spec: { image: 'micro', memoryMib: 96, cpus: 2 },
  });
  expect((await net.sh('wide', 'cat /sys/class/net/eth0/mtu')).text).toBe('1400');
  expect((await net.sh('wide', 'ls -d /sys/class/net/eth0/queues/rx-* | wc -l')).text).toBe('2');
});

it('serves its other guests while one floods DHCP', async () => {
  const flood = 'for i in $(seq 60); do udhcpc -n -q -f -i eth0 -t 50 -T 0 -A 0 -s /bin/true & done';
  await net.sh('six', `(${flood}) </dev/null >/dev/null 2>&1 &`);
  const { text } = await net.sh('seven', 'udhcpc -n -q -f -i eth0 -t 10 -T 1 -s /bin/true');
  expect(text).toContain(`lease of ${await net.address('seven')} obtained`);
  await net.sh('six', 'killall udhcpc');
});
