// Networks: what they are made of, who is on them, what is refused, and what becomes of them when the host fails.
import { networkTraceSchema } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { createFakeCore } from '../fakes/fake-core.ts';
import { createNetworkScene, type NetworkScene } from './network.fixture.ts';

function get({ fake }: NetworkScene, name: string) {
  return fake.core.actions.network.get(name);
}

describe('a network', () => {
  it('has free subnets where none are asked for, and the host’s own address in each', async () => {
    const scene = await createNetworkScene();
    scene.fake.host.network.hostRoutes.push({ subnet: '10.0.0.0/8', interface: 'tun0' });
    const { spec, status } = await scene.network('lab');
    expect(spec.ipv4).toMatch(/^172\.\d+\.\d+\.0\/24$/);
    expect(spec.ipv6).toMatch(/^fd.*::\/64$/);
    expect(status).toMatchObject({ driver: 'bridge', state: 'ready', interface: 'wbfake' });
    expect(status.gateways[0]).toBe(spec.ipv4?.replace('.0/24', '.1'));
    expect(scene.fake.host.network.plan.networks.map(({ name }) => name)).toEqual(['lab']);
  });

  it.each([
    [
      'a route of the host',
      '192.168.0.0/17',
      '192.168.0.0/17 overlaps 192.168.1.0/24, which is of the host’s route by eth0.',
    ],
    ['another network', '10.80.0.0/16', '10.80.0.0/16 overlaps 10.80.0.0/24, which is of network first.'],
    ['nothing that can be one', '10.80.1.1/24', '10.80.1.1/24 is no network address.'],
    [
      'nearly the whole internet',
      '0.0.0.0/1',
      '0.0.0.0/1 has the wrong size: a network’s IPv4 subnet is /8 to /29.',
    ],
  ])('is refused where its subnet is of %s', async (_what, ipv4, message) => {
    const scene = await createNetworkScene();
    scene.fake.host.network.hostRoutes.push({ subnet: '192.168.1.0/24', interface: 'eth0' });
    await scene.network('first', { ipv4: '10.80.0.0/24' });
    await expect(scene.network('second', { ipv4 })).rejects.toMatchObject({
      code: 'network.subnet_conflict',
      message,
    });
    expect(await scene.faults()).toEqual([]);
  });

  it.each([
    [{ kind: 'bridged' }, 'is to be bridged, and has no uplink'],
    [
      { kind: 'bridged', uplink: { interface: 'eth1' }, ipv4: '10.80.0.0/24' },
      'where addresses come from the uplink',
    ],
    [{ kind: 'nat', uplink: { interface: 'eth1' } }, 'has no uplink'],
    [{ kind: 'routed', ipv4: null, ipv6: null }, 'needs a subnet'],
  ])('must make sense: %j', async (spec, message) => {
    const scene = await createNetworkScene();
    await expect(scene.network('odd', spec)).rejects.toThrow(message);
  });

  it('is refused with the driver’s words where the host cannot have it', async () => {
    const scene = await createNetworkScene();
    scene.fake.host.network.refusal = { why: 'eth0 has addresses.', hint: 'Take a bridge.' };
    await expect(
      scene.network('home', { kind: 'bridged', uplink: { interface: 'eth0' } }),
    ).rejects.toMatchObject({
      code: 'network.unsupported',
      message: 'This host cannot have the network home: eth0 has addresses.',
      hint: 'Take a bridge.',
    });
  });

  it('is not there when it could not be made, and its name and subnet are free again', async () => {
    const scene = await createNetworkScene();
    scene.fake.host.network.broken.add('all');
    await expect(scene.network('lab', { ipv4: '10.80.0.0/24' })).rejects.toMatchObject({
      code: 'network.failed',
    });
    await expect(get(scene, 'lab')).rejects.toMatchObject({ code: 'network.not_found' });
    scene.fake.host.network.broken.clear();
    await scene.network('lab', { ipv4: '10.80.0.0/24' });
    expect(await scene.faults()).toEqual([]);
  });

  it('has one of each name, also for two who ask at the same moment', async () => {
    const scene = await createNetworkScene();
    const both = await Promise.allSettled([scene.network('lab'), scene.network('lab')]);
    const refused = both.filter((one) => one.status === 'rejected');
    expect(refused.map(({ reason }) => reason.code)).toEqual(['network.name_taken']);
    await Promise.all(['one', 'two', 'three'].map((name) => scene.network(name)));
    const { items } = await scene.fake.core.actions.network.list({ project: 'default', limit: 10 });
    expect(new Set(items.map(({ spec }) => spec.ipv4)).size).toBe(4);
  });

  it('cannot go while it has cards, and says whose; then it goes from the host as well', async () => {
    const scene = await createNetworkScene();
    const { network } = scene.fake.core.actions;
    await scene.network('lab');
    await scene.guest('web', [{ network: 'lab' }], false);
    await expect(network.remove(scene.fake.request, 'lab')).rejects.toMatchObject({
      code: 'network.in_use',
      message: 'Network lab has cards of web.',
    });
    await scene.remove('web');
    await network.remove(scene.fake.request, 'lab');
    expect(scene.fake.host.network.plan.networks).toEqual([]);
    expect(await scene.faults()).toEqual([]);
  });

  it.each(['network.create/record', 'network.create/apply', 'network.remove/record', 'network.remove/apply'])(
    'is there or not, on the host as in the records, when the daemon dies at %s',
    async (step) => {
      const scene = await createNetworkScene();
      const { fake } = scene;
      await scene.network('old');
      fake.fault = { step, kind: 'die' };
      const act = step.startsWith('network.create')
        ? scene.network('new')
        : fake.core.actions.network.remove(fake.request, 'old');
      await Promise.race([act, fake.died()]);
      await fake.restart();
      expect(await scene.faults()).toEqual([]);
    },
  );
});

describe('the network and the group named default', () => {
  it('are made on first use, once, however many need them at the same moment', async () => {
    const scene = await createNetworkScene();
    await Promise.all(Array.from({ length: 20 }, (_, number) => scene.guest(`guest-${number}`, [{}], false)));
    const { network, securityGroup } = scene.fake.core.actions;
    expect((await network.list({ project: 'default', limit: 10 })).items.map(({ name }) => name)).toEqual([
      'default',
    ]);
    const [group] = (await securityGroup.list({ project: 'default', limit: 10 })).items;
    expect(group).toMatchObject({ name: 'default', status: { members: 20 } });
    expect(await scene.faults()).toEqual([]);
  });

  it('are there for an instance that says nothing of cards, and not for one that wants none', async () => {
    const fake = await createFakeCore();
    await fake.create({ name: 'none', spec: { nics: [] } });
    expect((await fake.core.actions.network.list({ project: 'default', limit: 10 })).items).toEqual([]);
    await fake.create({ name: 'one' });
    expect((await fake.core.actions.instance.get('one')).spec.nics).toMatchObject([
      { name: 'nic0', network: 'default', securityGroups: ['default'] },
    ]);
  });

  it('come again when they were removed', async () => {
    const scene = await createNetworkScene();
    await scene.guest('web');
    await scene.remove('web');
    const { network, securityGroup } = scene.fake.core.actions;
    await network.remove(scene.fake.request, 'default');
    await securityGroup.remove(scene.fake.request, 'default');
    await scene.guest('web');
    expect(await scene.faults()).toEqual([]);
  });
});

describe('300 guests on a /24', () => {
  it('get an address each as long as there are any, and then a clear error; none is broken', async () => {
    const scene = await createNetworkScene();
    await scene.network('lab', { ipv4: '10.80.0.0/24' });
    const all = await Promise.allSettled(
      Array.from({ length: 300 }, (_, number) => scene.guest(`guest-${number}`, [{ network: 'lab' }], false)),
    );
    const refused = all.filter((one) => one.status === 'rejected');
    expect(refused).toHaveLength(47);
    for (const { reason } of refused)
      expect(reason).toMatchObject({
        code: 'network.addresses_exhausted',
        message: 'Network lab (10.80.0.0/24) has 253 addresses for cards, and all are taken.',
      });
    expect(await scene.faults()).toEqual([]);
    await scene.remove('guest-7');
    await scene.guest('late', [{ network: 'lab' }]);
    expect(await scene.nics('late')).toMatchObject([{ ipv4: '10.80.0.9' }]);
    expect(await scene.faults()).toEqual([]);
  });
});

describe('who is on a network', () => {
  it('is told from the records, with what is observed of those that run', async () => {
    const scene = await createNetworkScene();
    const { host, core, request } = scene.fake;
    await scene.network('lab', { ipv4: '10.80.0.0/24', ipv6: null });
    const { target } = await scene.guest('web', [{ network: 'lab' }]);
    await scene.guest('idle', [{ network: 'lab' }], false);
    const group = await core.actions.securityGroup.get('default');
    host.network.observed = {
      ports: [
        {
          instance: target.id,
          nic: 'nic0',
          interface: 'wtfake',
          leases: [{ address: '10.80.0.2', untilMs: 0 }],
          spoofed: 3,
        },
      ],
      rules: [
        { group: group.id, rule: 'R', packets: 1, bytes: 60 },
        { group: 'gone', rule: 'R', packets: 1, bytes: 60 },
      ],
      shadows: [{ table: 'ip filter', why: 'It drops.', hint: 'Let it pass.' }],
    };
    const ports = await core.actions.network.ports(request, 'lab');
    expect(ports).toMatchObject({
      items: [
        {
          instance: 'web',
          addresses: ['10.80.0.2'],
          interface: 'wtfake',
          leases: [{ address: '10.80.0.2', until: '1970-01-01T00:00:00.000Z' }],
          spoofed: 3,
        },
        { instance: 'idle', addresses: ['10.80.0.3'], leases: [] },
      ],
      rules: [{ group: 'default', rule: 'R', packets: 1, bytes: 60 }],
      shadows: [{ table: 'ip filter', why: 'It drops.', hint: 'Let it pass.' }],
    });
  });
});

describe('a trace', () => {
  const ask = ({ fake }: NetworkScene, input: object) =>
    fake.core.actions.network.trace(fake.request, networkTraceSchema.parse(input));

  it('says which rule lets a connection pass, and proves it from an address that nobody has', async () => {
    const scene = await createNetworkScene();
    await scene.network('lab', { ipv4: '10.80.0.0/24' });
    await scene.guest('a', [{ network: 'lab' }]);
    await scene.guest('b', [{ network: 'lab' }]);
    const traced = await ask(scene, { from: 'a', to: 'b', port: 80, live: true });
    expect(traced).toMatchObject({
      verdict: 'passes',
      from: 'a (10.80.0.2)',
      to: 'b (10.80.0.3)',
      live: {
        verdict: 'passes',
        expected: 'passes',
        why: 'A SYN was sent. It was sent from 10.80.0.254, by another card of the same groups.',
      },
    });
    expect(traced.steps.at(-1)).toMatchObject({ at: 'group default', verdict: 'passes' });
    expect(scene.fake.host.network.probes).toMatchObject([
      { from: '10.80.0.254', to: '10.80.0.3', port: 80 },
    ]);
  });

  it('says that a guest is stopped only where the rules would let it pass', async () => {
    const scene = await createNetworkScene();
    await scene.group('closed', []);
    await scene.guest('a');
    await scene.guest('b', [{}], false);
    await scene.guest('c', [{ securityGroups: ['closed'] }], false);
    const passed = await ask(scene, { from: 'a', to: 'b', port: 80 });
    expect(passed.verdict).toBe('dropped');
    expect(passed.steps.at(-1)?.why).toBe('It is stopped; the rules would let it pass.');
    const dropped = await ask(scene, { from: 'a', to: 'c', port: 80 });
    expect(dropped.steps.at(-1)?.at).toBe('group closed');
  });

  it('claims no contradiction where a rule names the address of the one who asks, and says so', async () => {
    const scene = await createNetworkScene();
    await scene.network('lab', { ipv4: '10.80.0.0/24' });
    await scene.group('db', [{ direction: 'ingress', protocol: 'tcp', fromPort: 80, cidr: '10.80.0.2/32' }]);
    await scene.guest('a', [{ network: 'lab' }]);
    await scene.guest('b', [{ network: 'lab', securityGroups: ['db'] }]);
    scene.fake.host.network.probePasses = false;
    const { verdict, live } = await ask(scene, { from: 'a', to: 'b', port: 80, live: true });
    expect([verdict, live?.verdict, live?.expected]).toEqual(['passes', 'dropped', 'dropped']);
    expect(live?.why).toContain('this one is not a’s: of this packet the records say “dropped”');
    await scene.rule('db', { direction: 'ingress', protocol: 'tcp', fromPort: 80, cidr: '10.80.0.0/24' });
    const both = await ask(scene, { from: 'a', to: 'b', port: 80, live: true });
    expect([both.verdict, both.live?.expected]).toEqual(['passes', 'passes']);
    await scene.stop('b');
    expect((await ask(scene, { from: 'a', to: 'b', port: 80, live: true })).live?.expected).toBe('dropped');
  });

  it('is proven by one packet at a time, whose address nobody is given meanwhile', async () => {
    const scene = await createNetworkScene();
    const { network } = scene.fake.host;
    await scene.network('lab', { ipv4: '10.80.0.0/29', ipv6: null });
    await scene.guest('a', [{ network: 'lab' }, { network: 'lab' }]);
    const gate = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    let atOnce = 0;
    let most = 0;
    network.pauseProbe = async () => {
      atOnce += 1;
      most = Math.max(most, atOnce);
      begun.resolve();
      await gate.promise;
      atOnce -= 1;
    };
    const question = { from: 'a', to: '10.80.0.3', port: 80, live: true };
    const traces = Promise.all([ask(scene, question), ask(scene, question)]);
    await begun.promise;
    await expect(scene.guest('greedy', [{ network: 'lab', ipv4: '10.80.0.6' }])).rejects.toMatchObject({
      code: 'network.address_taken',
    });
    await scene.guest('b', [{ network: 'lab' }, { network: 'lab' }]);
    await expect(scene.guest('late', [{ network: 'lab' }])).rejects.toMatchObject({
      code: 'network.addresses_exhausted',
    });
    gate.resolve();
    await traces;
    expect([most, network.probes.map(({ from }) => from)]).toEqual([1, ['10.80.0.6', '10.80.0.6']]);
    await scene.guest('late', [{ network: 'lab' }]);
    expect(await scene.nics('late')).toMatchObject([{ ipv4: '10.80.0.6' }]);
  });

  it('says that the host’s other addresses are closed to guests', async () => {
    const scene = await createNetworkScene();
    scene.fake.host.network.hostInterfaces.push({ name: 'eth0', addresses: ['192.0.2.1', '2001:db8:0::1'] });
    await scene.guest('a');
    for (const to of ['192.0.2.1', '2001:db8::1']) {
      const family = to.includes(':') ? 'ipv6' : 'ipv4';
      const { verdict, steps } = await ask(scene, { from: 'a', to, port: 22, family });
      expect([verdict, steps.at(-1)?.at]).toEqual(['dropped', 'host']);
      expect(steps.at(-1)?.why).toBe(
        `${to} is the host’s own: its input takes nothing from guests but at their gateway.`,
      );
    }
  });

  it('needs ends that there are', async () => {
    const scene = await createNetworkScene();
    await scene.guest('a');
    await scene.guest('none', []);
    await expect(ask(scene, { from: 'a', to: 'nobody' })).rejects.toMatchObject({
      code: 'instance.not_found',
    });
    expect((await ask(scene, { from: 'a', to: 'none' })).verdict).toBe('dropped');
    await expect(ask(scene, { from: '203.0.113.1', to: 'a', port: 80, live: true })).rejects.toMatchObject({
      code: 'network.unsupported',
    });
  });
});

describe('without root', () => {
  async function userMode(): Promise<NetworkScene> {
    const scene = await createNetworkScene();
    scene.fake.host.network.driver = 'user';
    return scene;
  }

  it('there is the network default, whose guests have no addresses of their own, and publish ports', async () => {
    const scene = await userMode();
    await scene.guest('web', [{ publish: [{ hostPort: 8080, guestPort: 80 }] }]);
    expect(await scene.nics('web')).toMatchObject([{ network: 'default' }]);
    expect((await scene.nics('web'))[0]?.ipv4).toBeUndefined();
    expect(await get(scene, 'default')).toMatchObject({
      status: { driver: 'user' },
      spec: { ipv4: null, ipv6: null },
    });
  });

  it.each([
    ['an isolated network', (scene: NetworkScene) => scene.network('lab', { kind: 'isolated' })],
    ['a subnet', (scene: NetworkScene) => scene.network('lab', { ipv4: '10.80.0.0/24' })],
    ['an address', (scene: NetworkScene) => scene.guest('web', [{ ipv4: '10.80.0.5' }])],
    ['a floating address', (scene: NetworkScene) => scene.guest('web', [{ floating: '198.51.100.7' }])],
    ['a security group', (scene: NetworkScene) => scene.group('web')],
    ['a card in a group', (scene: NetworkScene) => scene.guest('web', [{ securityGroups: ['web'] }])],
    [
      'a trace',
      ({ fake }: NetworkScene) =>
        fake.core.actions.network.trace(fake.request, networkTraceSchema.parse({ from: 'a', to: 'b' })),
    ],
  ])('there is no %s, and the error says what to do', async (_what, act) => {
    const scene = await userMode();
    await expect(act(scene)).rejects.toMatchObject({
      code: 'network.unsupported',
      hint: expect.stringMatching(/\w/),
    });
  });

  it('published ports of a guest that runs stay as they are', async () => {
    const scene = await userMode();
    await scene.guest('web');
    const publish = [{ hostPort: 8080, guestPort: 80 }];
    await expect(scene.update('web', 'nic0', { publish })).rejects.toMatchObject({
      code: 'network.unsupported',
    });
    await scene.stop('web');
    await scene.update('web', 'nic0', { publish });
    await scene.start('web');
    expect(scene.fake.host.network.plan.ports[0]?.publish).toMatchObject(publish);
  });

  it('a network goes on when the host gets what bridges need, with addresses for its guests', async () => {
    const scene = await userMode();
    await scene.guest('web', [{}], false);
    await scene.guest('db', [{}, {}], false);
    scene.fake.host.network.driver = 'bridge';
    await scene.fake.restart();
    const { spec, status } = await get(scene, 'default');
    expect(status).toMatchObject({ driver: 'bridge', state: 'ready' });
    const begin = spec.ipv4?.replace('.0/24', '');
    expect(await scene.nics('web')).toMatchObject([{ ipv4: `${begin}.2` }]);
    expect(await scene.nics('db')).toMatchObject([{ ipv4: `${begin}.3` }, { ipv4: `${begin}.4` }]);
    await scene.start('web');
    expect(await scene.faults()).toEqual([]);
    scene.fake.host.network.driver = 'user';
    await scene.fake.restart();
    await scene.start('db');
    expect(await get(scene, 'default')).toMatchObject({
      status: { driver: 'user' },
      spec: { ipv4: spec.ipv4 },
    });
  });

  it('a guest is not started on a network that only bridges can be', async () => {
    const scene = await createNetworkScene();
    await scene.network('lab', { kind: 'isolated' });
    await scene.guest('web', [{ network: 'lab' }], false);
    scene.fake.host.network.driver = 'user';
    await expect(scene.start('web')).rejects.toMatchObject({ code: 'network.unsupported' });
  });
});
