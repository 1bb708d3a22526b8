// Guests on networks, for real: they reach each other by name, the outside and nobody else; whoever tries otherwise does not get
// far; and nothing of it is left when it is removed.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { uplink } from './harness/namespace.ts';
import { type Networked, networked } from './harness/networked.ts';

let net: Networked;

beforeAll(async () => {
  net = await networked();
});

afterAll(async () => expect(await net.end()).toEqual([]));

const reaches = async (guest: string, host: string, port: number): Promise<boolean> =>
  (await net.sh(guest, `nc -w 2 ${host} ${port} </dev/null`)).exitCode === 0;

const serve = (guest: string, port: number) =>
  net.sh(guest, `nc -ll -p ${port} -e echo hello-from-${guest} </dev/null >/dev/null 2>&1 &`);

describe('guests on the default network, which is made on first use', () => {
  beforeAll(async () => {
    await Promise.all([net.guest('web'), net.guest('db')]);
    await serve('web', 80);
  });

  it('have the addresses of their records, given by DHCP', async () => {
    for (const name of ['web', 'db']) {
      const { text } = await net.sh(name, 'ip -4 -o addr show eth0');
      expect(text).toContain(`inet ${await net.address(name)}/24`);
    }
  });

  it('find each other by name, and ping each other', async () => {
    expect((await net.sh('db', 'nslookup web.wirt')).text).toContain(await net.address('web'));
    expect(await net.sh('db', 'ping -c 2 -W 2 web.wirt')).toMatchObject({ exitCode: 0 });
    expect(await net.sh('web', 'ping -c 2 -W 2 db')).toMatchObject({ exitCode: 0 });
  });

  it('talk to each other as members of one group, and to the outside through the address of the host', async () => {
    expect((await net.sh('db', 'nc -w 2 web.wirt 80 </dev/null')).text).toBe('hello-from-web');
    net.network.outside.start('busybox', 'nc', '-ll', '-p', '7000', '-e', 'cat');
    const { text } = await net.sh(
      'db',
      `for i in 1 2 3; do echo out | nc -w 2 ${uplink.outside} 7000 && exit; done`,
    );
    expect(text).toBe('out');
  });

  it('are not reached from outside, whatever route there is', async () => {
    const address = await net.address('web');
    await net.network.outside.run('ip', 'route', 'replace', `${address}/32`, 'via', uplink.inside);
    await expect(net.network.outside.run('busybox', 'nc', '-w', '2', address, '80')).rejects.toThrow();
  });

  it('reach no service of the host', async () => {
    net.network.inside.start('busybox', 'nc', '-ll', '-p', '6000', '-e', 'cat');
    const [gateway = ''] = (await net.networkOf('default')).status.gateways;
    expect(await reaches('db', gateway, 6000)).toBe(false);
    expect(await reaches('db', uplink.inside, 6000)).toBe(false);
  });

  it('are reached at ports that are published, and only there', async () => {
    await net.cli('network', 'publish', 'web', '8080:80');
    const from = (port: string) =>
      net.network.outside.run('busybox', 'nc', '-w', '3', uplink.inside, port).then((text) => text.trim());
    expect(await from('8080')).toBe('hello-from-web');
    await expect(from('80')).rejects.toThrow();
    expect((await net.network.inside.run('busybox', 'nc', '-w', '3', '127.0.0.1', '8080')).trim()).toBe(
      'hello-from-web',
    );
    await expect(net.cli('network', 'publish', 'db', '8080:80')).rejects.toThrow(/8080.*web|web.*8080/s);
    await net.cli('network', 'unpublish', 'web', '8080');
    await expect(from('8080')).rejects.toThrow();
  });

  it('have ports that Wirt itself answers on at gateways, now and after a start, and go on being answered there', async () => {
    await net.cli('network', 'publish', 'web', '80:80', '53:80');
    const from = (port: string) =>
      net.network.outside.run('busybox', 'nc', '-w', '3', uplink.inside, port).then((text) => text.trim());
    const expectBoth = async (): Promise<void> => {
      expect([await from('80'), await from('53')]).toEqual(['hello-from-web', 'hello-from-web']);
      const asked = await net.sh('db', 'wget -S -O - http://169.254.169.254/latest/meta-data/');
      expect(asked.text).toContain('401');
      expect((await net.sh('db', 'nslookup web.wirt')).text).toContain(await net.address('web'));
    };
    await expectBoth();
    await net.cli('stop', 'web', '--force');
    await net.cli('start', 'web', '--wait', 'ready');
    await serve('web', 80);
    await net.sh(
      'web',
      'for i in $(seq 50); do nc -w 1 127.0.0.1 80 </dev/null && exit; usleep 100000; done',
    );
    await expectBoth();
    await net.cli('network', 'unpublish', 'web', '80', '53');
    const [gateway = ''] = (await net.networkOf('default')).status.gateways;
    await expect(net.cli('network', 'publish', 'web', `${gateway}:8080:80`)).rejects.toThrow(/gateway/);
  });

  it('keep their addresses over a stop and a start', async () => {
    const before = await net.address('db');
    await net.cli('stop', 'db', '--force');
    await net.cli('start', 'db', '--wait', 'ready');
    expect(await net.address('db')).toBe(before);
    const { text } = await net.sh(
      'db',
      'for i in $(seq 50); do ip -4 -o addr show eth0 | grep inet && exit; usleep 200000; done',
    );
    expect(text).toContain(before);
  });
});

describe('a guest that tries to be another', () => {
  const spoof = (line: string) => net.sh('db', line);

  it('gets no packet through with an address that is not its own', async () => {
    const web = await net.address('web');
    const own = await net.address('db');
    const [gateway = ''] = (await net.networkOf('default')).status.gateways;
    await spoof(`ip addr add ${web}/32 dev eth0`);
    expect((await spoof(`ping -c 1 -W 1 -I ${web} ${gateway}`)).exitCode).not.toBe(0);
    await spoof(`ip addr del ${web}/32 dev eth0`);
    expect((await spoof(`ping -c 1 -W 2 -I ${own} ${gateway}`)).exitCode).toBe(0);
  });

  it('cannot claim another’s address by ARP', async () => {
    const web = await net.address('web');
    await spoof(
      `ip addr add ${web}/32 dev eth0; arping -U -c 3 -w 3 -I eth0 ${web}; ip addr del ${web}/32 dev eth0`,
    );
    const { ports } = {
      ports: await net.daemon.client.call('GET /v1/networks/{network}/ports', {
        params: { network: 'default' },
      }),
    };
    expect(ports.items.find(({ instance }) => instance === 'db')?.spoofed).toBeGreaterThan(0);
    expect((await net.sh('web', 'ping -c 1 -W 2 db.wirt')).exitCode).toBe(0);
  });

  it('cannot use another MAC address', async () => {
    const mac = (await net.instance('db')).spec.nics[0]?.mac;
    const [gateway = ''] = (await net.networkOf('default')).status.gateways;
    await spoof('ip link set eth0 down; ip link set eth0 address 02:00:00:00:00:99; ip link set eth0 up');
    expect((await spoof(`ping -c 1 -W 1 ${gateway}`)).exitCode).not.toBe(0);
    await spoof(
      `ip link set eth0 down; ip link set eth0 address ${mac}; ip link set eth0 up; ip route add default via ${gateway}`,
    );
    expect((await spoof(`ping -c 1 -W 2 ${gateway}`)).exitCode).toBe(0);
  });

  it('cannot answer DHCP', async () => {
    const lines = ['start 10.0.0.5', 'end 10.0.0.9', 'interface eth0', 'option router 10.0.0.1'];
    await spoof(
      `printf '${lines.join('\\n')}\\n' >/tmp/udhcpd.conf; touch /tmp/leases; udhcpd -S /tmp/udhcpd.conf`,
    );
    const { text } = await net.sh('web', 'udhcpc -n -q -f -i eth0 -t 3 -T 1 -s /bin/true');
    expect(text).toContain(`lease of ${await net.address('web')} obtained`);
    expect(text).not.toContain('10.0.0.');
    await spoof('killall udhcpd');
  });
});

describe('security groups', () => {
  beforeAll(async () => {
    await net.cli('security-group', 'create', 'tier');
    await net.guest('app', [{ securityGroups: ['tier'] }]);
    await serve('app', 80);
    await serve('app', 5432);
  });

  it('let nothing in but what a rule allows', async () => {
    expect(await reaches('web', 'app.wirt', 80)).toBe(false);
    await net.cli('security-group', 'allow', 'tier', 'tcp', '80', '--from', 'group:default');
    expect(await reaches('web', 'app.wirt', 80)).toBe(true);
    expect(await reaches('web', 'app.wirt', 5432)).toBe(false);
  });

  it('say what they do, and prove it with a packet', async () => {
    expect(await net.cli('network', 'trace', 'web', 'app', '--port', '80', '--live')).toMatch(/passes/);
    await expect(net.cli('network', 'trace', 'web', 'app', '--port', '5432', '--live')).rejects.toThrow(
      /dropped/,
    );
  });

  it('cut what was allowed by a rule that is taken away, and leave other connections alone', async () => {
    await net.cli('security-group', 'allow', 'tier', 'tcp', '5432', '--from', 'group:default');
    const talk = (port: number) =>
      net.sh(
        'web',
        `mkfifo /tmp/in${port}; (tail -f /tmp/in${port} | nc app.wirt ${port} >/tmp/out${port}) </dev/null >/dev/null 2>&1 &`,
      );
    await net.sh('app', 'for p in 81 5433; do nc -ll -p $p -e cat </dev/null >/dev/null 2>&1 & done');
    await net.cli('security-group', 'allow', 'tier', 'tcp', '81', '--from', 'group:default');
    await net.cli('security-group', 'allow', 'tier', 'tcp', '5433', '--from', 'group:default');
    await talk(81);
    await talk(5433);
    const say = (port: number, word: string) =>
      net.sh(
        'web',
        `echo ${word} >/tmp/in${port}; for i in 1 2 3 4 5 6; do grep -q ${word} /tmp/out${port} && exit; usleep 500000; done; exit 1`,
      );
    expect((await say(81, 'first')).exitCode).toBe(0);
    expect((await say(5433, 'first')).exitCode).toBe(0);
    await net.cli('security-group', 'revoke', 'tier', 'tcp', '5433', '--from', 'group:default');
    expect((await say(81, 'second')).exitCode).toBe(0);
    expect((await say(5433, 'second')).exitCode).not.toBe(0);
  });
});

describe('networks apart', () => {
  beforeAll(async () => {
    await net.cli('network', 'create', 'closed', '--kind', 'isolated');
    await Promise.all([net.guest('in1', [{ network: 'closed' }]), net.guest('in2', [{ network: 'closed' }])]);
  });

  it('keep their guests among themselves', async () => {
    expect((await net.sh('in1', 'ping -c 1 -W 2 in2.wirt')).exitCode).toBe(0);
    expect((await net.sh('in1', `ping -c 1 -W 1 ${await net.address('web')}`)).exitCode).not.toBe(0);
    expect((await net.sh('in1', `ping -c 1 -W 1 ${uplink.outside}`)).exitCode).not.toBe(0);
    expect((await net.sh('web', `ping -c 1 -W 1 ${await net.address('in1')}`)).exitCode).not.toBe(0);
  });

  it('are refused where they overlap what the host has a route to, which is named', async () => {
    await expect(net.cli('network', 'create', 'clash', '--ipv4', '192.0.2.0/25')).rejects.toThrow(
      /192\.0\.2\.0\/24.*up0/s,
    );
  });

  it('take a card of a running guest, and give it back', async () => {
    await net.cli('network', 'attach', 'in1', 'default');
    const { spec } = await net.instance('in1');
    expect(spec.nics.map(({ network }) => network)).toEqual(['closed', 'default']);
    await net.hasCard('in1', spec.nics[1]?.mac ?? '');
    await net.sh('in1', `ip link set eth1 up; ip addr add ${spec.nics[1]?.ipv4}/24 dev eth1`);
    expect((await net.sh('in1', `ping -c 1 -W 2 -I eth1 ${await net.address('web')}`)).exitCode).toBe(0);
    await net.cli('network', 'detach', 'in1', spec.nics[1]?.name ?? '');
    expect((await net.sh('in1', 'ls /sys/class/net')).text).not.toContain('eth1');
  });
});
