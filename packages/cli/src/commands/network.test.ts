import { describe, expect, it } from 'vitest';
import { problem, runWirt, type Script, startScriptedDaemon } from '../scripted-daemon.ts';
import { aNetwork, aSecurityGroup } from '../scripted-records.ts';

async function ran(argv: readonly string[], scripts: Readonly<Record<string, Script>>) {
  await using daemon = await startScriptedDaemon(scripts);
  const result = await runWirt(['network', ...argv], { daemon });
  return { ...result, lines: daemon.lines, json: daemon.asked.at(0)?.json };
}

const ports = {
  items: [
    {
      ...{ instance: 'web', instanceId: '01KATESTTESTTESTTESTTESTT1', nic: 'nic0', mac: '02:00:00:00:00:01' },
      ...{ addresses: ['10.80.0.10', 'fd12::10'], securityGroups: ['default', 'web'] },
      interface: 'wt0123456789',
      leases: [{ address: '10.80.0.10', until: '2026-11-22T13:00:00Z' }],
      counters: {
        ...{ receivedBytes: 2048, receivedPackets: 20, receivedDropped: 0 },
        ...{ sentBytes: 512, sentPackets: 1, sentDropped: 4 },
      },
      spoofed: 3,
    },
    {
      ...{ instance: 'db', instanceId: '01KATESTTESTTESTTESTTESTT2', nic: 'nic1', mac: '02:00:00:00:00:02' },
      ...{ addresses: [], securityGroups: [], leases: [] },
    },
  ],
  rules: [
    { group: 'web', rule: '01KATESTTESTTESTTESTTESTR3', packets: 7, bytes: 1536 },
    { group: 'gone', rule: '01KATESTTESTTESTTESTTESTR9', packets: 0, bytes: 0 },
  ],
};

describe('wirt network ls', () => {
  it('shows kind, subnets, uplink and bridge, and says what does not work', async () => {
    const lan = {
      ...aNetwork,
      name: 'lan',
      spec: {
        ...aNetwork.spec,
        kind: 'bridged',
        ipv4: null,
        ipv6: null,
        uplink: { interface: 'br0', vlan: 7 },
      },
      status: { driver: 'bridge', state: 'failed', message: 'There is no interface br0.', gateways: [] },
    };
    const { stdout, stderr } = await ran(['ls'], {
      'GET /v1/networks': () => ({ json: { items: [aNetwork, lan] } }),
    });
    expect(stderr).toBe('Network lan does not work: There is no interface br0.\n');
    expect(stdout).toBe(
      [
        'NAME     STATE   KIND     IPV4          IPV6       UPLINK       BRIDGE',
        'default  ready   nat      10.80.0.0/24  fd12::/64  -            wb0123456789',
        'lan      failed  bridged  -             -          br0, VLAN 7  -',
        '',
      ].join('\n'),
    );
  });
});

describe('wirt network show', () => {
  const scripts: Record<string, Script> = {
    'GET /v1/networks/default': () => ({ json: aNetwork }),
    'GET /v1/networks/default/ports': () => ({ json: ports }),
    'GET /v1/security-groups': () => ({ json: { items: [aSecurityGroup] } }),
  };

  it('draws the way from the outside to every card, with addresses, leases, counters and rules', async () => {
    const { code, stdout } = await ran(['show', 'default'], scripts);
    expect(code).toBe(0);
    expect(stdout).toContain(
      [
        'outside',
        '│  through the host’s own address (nat)',
        '┴ bridge wb0123456789 of the host, 10.80.0.1, fd12::1',
        '├─ web/nic0  10.80.0.10, fd12::10',
        '│     02:00:00:00:00:01 by wt0123456789; groups default, web',
        '│     leased 10.80.0.10 until 2026-11-22T13:00:00Z',
        '│     received 2.0 KiB in 20 packets; sent 512 B in 1 packet and 4 dropped',
        '│     3 packets that claimed to be of another: dropped',
        '└─ db/nic1  -',
        '      02:00:00:00:00:02, not running; groups none',
        '',
      ].join('\n'),
    );
    expect(stdout).toContain(
      [
        'Rules, and what each let pass',
        '  GROUP  DIRECTION  TRAFFIC  OTHER END     PACKETS  BYTES    RULE',
        '  web    ingress    22/tcp   192.0.2.0/24  7        1.5 KiB  01KATESTTESTTESTTESTTESTR3',
        '  gone   -          -        -             0        0 B      01KATESTTESTTESTTESTTESTR9',
        '',
      ].join('\n'),
    );
    expect(stdout).toMatch(/Names +NAME\.wirt; other names are asked for at the host’s resolvers/);
  });

  it('gives programs the record with what both routes say', async () => {
    const { stdout, lines } = await ran(['show', 'default', '-o', 'json'], scripts);
    expect(JSON.parse(stdout)).toEqual({ ...aNetwork, ports: ports.items, rules: ports.rules });
    expect(lines).toEqual(['GET /v1/networks/default', 'GET /v1/networks/default/ports']);
  });

  it('says who else on the host drops what the groups let pass, and what lets it pass there', async () => {
    const shadow = { table: 'ip filter', why: 'Chain FORWARD drops by its policy.', hint: 'iptables -I …' };
    const shadowed: Record<string, Script> = {
      ...scripts,
      'GET /v1/networks/default/ports': () => ({ json: { ...ports, shadows: [shadow] } }),
    };
    const { stdout } = await ran(['show', 'default'], shadowed);
    expect(stdout).toContain(
      [
        'Dropped by others on the host, whatever the groups say',
        '  Chain FORWARD drops by its policy.',
        '  iptables -I …',
        '',
      ].join('\n'),
    );
    const json = await ran(['show', 'default', '-o', 'json'], shadowed);
    expect(JSON.parse(json.stdout)).toMatchObject({ shadows: [shadow] });
  });

  it('shows what is known of a network that the host cannot be asked about, and fails', async () => {
    const { code, stdout, stderr } = await ran(['show', 'default'], {
      ...scripts,
      'GET /v1/networks/default': () => ({
        json: {
          ...aNetwork,
          status: {
            ...aNetwork.status,
            repair: { at: '2026-11-22T11:00:00Z', what: 'The bridge was gone.' },
          },
        },
      }),
      'GET /v1/networks/default/ports': () => problem(500, 'network.failed', 'The host does not answer.'),
    });
    expect(code).toBe(1);
    expect(stderr).toContain('The host does not answer.');
    expect(stdout).toContain('nobody is on it');
    expect(stdout).toMatch(/Mended +2026-11-22T11:00:00Z: The bridge was gone\./);
  });

  it('draws networks of every kind, and those without root', async () => {
    const drawn = async (spec: object, status: object = {}): Promise<string> => {
      const network = {
        ...aNetwork,
        spec: { ...aNetwork.spec, ...spec },
        status: { ...aNetwork.status, ...status },
      };
      const { stdout } = await ran(['show', 'default'], {
        ...scripts,
        'GET /v1/networks/default': () => ({ json: network }),
      });
      return stdout;
    };
    expect(await drawn({ kind: 'isolated' })).toContain('nothing enters or leaves (isolated)\nbridge wb');
    expect(await drawn({ kind: 'routed' })).toContain('by routes that others have to this host (routed)');
    expect(await drawn({ kind: 'bridged', uplink: { interface: 'eth1' } })).toContain(
      'uplink eth1\n│  one segment',
    );
    const alone = await drawn({}, { driver: 'user', interface: undefined, gateways: [] });
    expect(alone).toContain('┴ a process beside each guest, without root\n');
    expect(alone).not.toContain('not running');
  });
});

describe('wirt network create and rm', () => {
  const scripts: Record<string, Script> = {
    'POST /v1/networks': () => ({ status: 201, json: aNetwork }),
    'DELETE /v1/networks/a': () => ({}),
    'DELETE /v1/networks/b': () => problem(409, 'network.in_use', 'web has a card on network b.'),
  };

  it('create leaves to the contract what was not said, and tells what was chosen', async () => {
    const { json, stdout } = await ran(['create', 'default'], scripts);
    expect(json).toEqual({ name: 'default', labels: {}, spec: {} });
    expect(stdout).toBe('Network default is ready: nat, 10.80.0.0/24, fd12::/64\n');
  });

  it('create passes on everything that was said', async () => {
    const { json } = await ran(
      [
        ...['create', 'dmz', '--kind', 'routed', '--ipv4', '10.80.7.0/24', '--ipv6', 'none', '--mtu', '9000'],
        ...['--domain', 'dmz.example', '--no-dns-forward', '-l', 'tier=dmz'],
      ],
      scripts,
    );
    expect(json).toEqual({
      name: 'dmz',
      labels: { tier: 'dmz' },
      spec: {
        ...{ kind: 'routed', ipv4: '10.80.7.0/24', ipv6: null, mtu: 9000 },
        ...{ domain: 'dmz.example', dnsForward: false },
      },
    });
  });

  it('create with an uplink is bridged', async () => {
    const { json } = await ran(['create', 'lan', '--uplink', 'br0', '--vlan', '7'], scripts);
    expect(json).toMatchObject({ spec: { kind: 'bridged', uplink: { interface: 'br0', vlan: 7 } } });
  });

  it.each([
    [['create', 'lan', '--kind', 'bridged'], 'A bridged network needs --uplink.'],
    [['create', 'lan', '--kind', 'nat', '--uplink', 'br0'], 'A network of kind nat has no uplink.'],
    [['create', 'lan', '--vlan', '7'], '--vlan goes with --uplink.'],
  ])('refuses %j before anything is asked', async (argv, reason) => {
    const { code, stderr, lines } = await ran(argv, scripts);
    expect([code, lines]).toEqual([2, []]);
    expect(stderr).toContain(reason);
  });

  it('rm removes those that nobody is on, and tells each failure', async () => {
    expect(await ran(['rm', 'b', 'a'], scripts)).toMatchObject({
      code: 4,
      stdout: 'Network a is removed\n',
      stderr: 'wirt: web has a card on network b.\n',
    });
  });
});
