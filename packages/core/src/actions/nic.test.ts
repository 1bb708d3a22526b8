// Network cards: addresses, ports and groups that are chosen and refused, and attaching, changing and detaching them live.
import { describe, expect, it } from 'vitest';
import { createNetworkScene, type NetworkScene } from './network.fixture.ts';

const http = { hostPort: 8080, guestPort: 80 };

async function webOnLab(start = true): Promise<NetworkScene> {
  const scene = await createNetworkScene();
  await scene.network('lab', { ipv4: '10.80.0.0/24', ipv6: 'fd00:1::/64' });
  await scene.guest('web', [{ network: 'lab' }], start);
  return scene;
}

function pluggedIn(scene: NetworkScene): string[] {
  return [...scene.fake.host.processes.values()].flatMap(({ nics }) => [...nics.keys()]);
}

describe('a card', () => {
  it('has an address in each family that it keeps over stops and restarts', async () => {
    const scene = await webOnLab();
    const before = await scene.nics('web');
    expect(before).toMatchObject([{ name: 'nic0', ipv4: '10.80.0.2', ipv6: 'fd00:1::2' }]);
    await scene.stop('web');
    await scene.guest('other', [{ network: 'lab' }]);
    await scene.fake.restart();
    await scene.start('web');
    expect(await scene.nics('web')).toEqual(before);
    expect((await scene.fake.core.actions.instance.get('web')).status.state).toBe('running');
    expect(await scene.faults()).toEqual([]);
  });

  it.each([
    ['an address that is taken', { ipv4: '10.80.0.2' }, 'network.address_taken', 'nic0 of web has it'],
    ['the gateway’s address', { ipv4: '10.80.0.1' }, 'network.address_taken', 'gateway'],
    ['an address from elsewhere', { ipv4: '10.81.0.1' }, 'network.address_taken', 'not of its subnet'],
    ['a group that there is not', { securityGroups: ['nobody'] }, 'group.not_found', 'nobody'],
    ['a network that there is not', { network: 'nowhere' }, 'network.not_found', 'nowhere'],
    [
      'a floating address of a network',
      { floating: '10.80.0.77' },
      'network.address_taken',
      'it is of network lab',
    ],
    ['a port twice', { publish: [http, http] }, 'network.port_taken', 'it is published twice'],
    [
      'a port that a program has',
      { publish: [{ hostPort: 22, guestPort: 22 }] },
      'network.port_taken',
      'sshd listens there',
    ],
  ])('is refused with %s, and nothing is left of it', async (_what, nic, code, words) => {
    const scene = await webOnLab();
    scene.fake.host.network.listeners.set('tcp/22', 'sshd listens there.');
    const wanted = { network: 'lab', ...nic };
    await expect(scene.guest('two', [wanted])).rejects.toMatchObject({
      code,
      message: expect.stringContaining(words),
    });
    await expect(scene.attach('web', wanted)).rejects.toMatchObject({ code });
    expect(await scene.nics('web')).toHaveLength(1);
    expect(await scene.faults()).toEqual([]);
  });

  it('has a port of the host alone, by protocol and address', async () => {
    const scene = await webOnLab();
    await scene.update('web', 'nic0', { publish: [http, { ...http, protocol: 'udp' }] });
    const wish = (publish: object[]) => scene.guest('two', [{ network: 'lab', publish }]);
    await expect(wish([http])).rejects.toMatchObject({
      code: 'network.port_taken',
      message: 'TCP port 8080 of the host is taken: it is published for nic0 of web.',
    });
    await expect(wish([{ ...http, hostAddress: '192.0.2.1' }])).rejects.toMatchObject({
      code: 'network.port_taken',
    });
    await scene.update('web', 'nic0', { publish: [{ ...http, hostAddress: '192.0.2.2' }] });
    await wish([{ ...http, hostAddress: '192.0.2.1' }]);
    await scene.update('web', 'nic0', { publish: [] });
    expect(scene.fake.host.network.plan.ports[0]?.publish).toEqual([]);
  });

  it('is reached from outside only where something leads in', async () => {
    const scene = await webOnLab();
    await scene.network('closed', { kind: 'isolated' });
    await scene.network('home', { kind: 'bridged', uplink: { interface: 'eth1' } });
    for (const network of ['closed', 'home'])
      await expect(scene.guest('two', [{ network, publish: [http] }])).rejects.toMatchObject({
        code: 'network.unsupported',
      });
    await scene.guest('three', [{ network: 'home' }]);
    expect((await scene.nics('three'))[0]?.ipv4).toBeUndefined();
    await scene.guest('four', [{ network: 'home', ipv4: '192.0.2.9' }]);
    await expect(scene.guest('five', [{ network: 'home', ipv4: '192.0.2.9' }])).rejects.toMatchObject({
      code: 'network.address_taken',
    });
  });

  it('has a floating address alone', async () => {
    const scene = await webOnLab();
    await scene.update('web', 'nic0', { floating: '198.51.100.7' });
    await expect(scene.guest('two', [{ network: 'lab', floating: '198.51.100.7' }])).rejects.toMatchObject({
      code: 'network.address_taken',
    });
    await scene.update('web', 'nic0', { floating: null });
    await scene.guest('two', [{ network: 'lab', floating: '198.51.100.7' }]);
  });

  it.each(['127.0.0.5', '0.0.0.0', '224.0.0.5', '255.255.255.255', '169.254.1.1', '240.0.0.1'])(
    'has no floating address that nobody could reach it by: %s',
    async (floating) => {
      const scene = await webOnLab();
      await expect(scene.update('web', 'nic0', { floating })).rejects.toMatchObject({
        code: 'network.address_taken',
        message: expect.stringMatching(/cannot be the floating address of nic0 of web: it is one of the /),
      });
    },
  );

  it.each(['::1', '::', 'fe80::5', 'ff02::1', '::ffff:192.0.2.1'])('nor by IPv6: %s', async (floating) => {
    const scene = await webOnLab();
    await expect(scene.update('web', 'nic0', { floating })).rejects.toMatchObject({
      code: 'network.address_taken',
    });
  });

  it('has no floating address that the host cannot stand in for, and keeps one that it has', async () => {
    const scene = await webOnLab();
    await scene.update('web', 'nic0', { floating: '2001:DB8::7' });
    expect(await scene.nics('web')).toMatchObject([{ floating: '2001:db8::7' }]);
    scene.fake.host.network.floatingRefusal = { why: 'It is eth0’s own.', hint: 'Take another.' };
    await scene.update('web', 'nic0', { securityGroups: [] });
    await scene.update('web', 'nic0', { floating: '2001:db8:0::7' });
    await expect(scene.update('web', 'nic0', { floating: '198.51.100.7' })).rejects.toMatchObject({
      code: 'network.address_taken',
      message: '198.51.100.7 cannot be the floating address of nic0 of web: It is eth0’s own.',
      hint: 'Take another.',
    });
    expect(await scene.nics('web')).toMatchObject([{ floating: '2001:db8::7' }]);
  });

  it('has its MAC address alone on the whole host, whatever the network', async () => {
    const scene = await webOnLab();
    await scene.network('other');
    await scene.network('home', { kind: 'bridged', uplink: { interface: 'eth1' } });
    const mac = '02:00:00:00:00:77';
    await scene.attach('web', { network: 'other', mac });
    for (const network of ['lab', 'home'])
      await expect(scene.guest('two', [{ network, mac }])).rejects.toMatchObject({
        code: 'network.address_taken',
        message: `The MAC address ${mac} is taken: nic1 of web has it.`,
      });
    const bridge = '02:00:00:00:00:01';
    scene.fake.host.network.hostInterfaces.push({ name: 'wblab', mac: bridge, addresses: ['10.80.0.1'] });
    await expect(scene.guest('two', [{ network: 'lab', mac: bridge }])).rejects.toMatchObject({
      code: 'network.address_taken',
      message: `The MAC address ${bridge} is taken: wblab of the host has it.`,
    });
  });

  it.each([
    ['10.80.0.77', 'it is of network lab'],
    ['10.80.0.2', 'it is of network lab'],
    ['10.80.0.1', 'it is of network lab'],
    ['127.0.0.1', 'loopback'],
    ['198.51.100.7', 'it is the floating address of nic0 of web'],
    ['192.0.2.1', 'eth0 of the host has it'],
  ])('on a bridged network is nobody else there: not %s', async (ipv4, why) => {
    const scene = await webOnLab();
    await scene.network('home', { kind: 'bridged', uplink: { interface: 'eth1' } });
    await scene.update('web', 'nic0', { floating: '198.51.100.7' });
    scene.fake.host.network.hostInterfaces.push({ name: 'eth0', addresses: ['192.0.2.1'] });
    await expect(scene.guest('two', [{ network: 'home', ipv4 }])).rejects.toMatchObject({
      code: 'network.address_taken',
      message: expect.stringContaining(why),
    });
    await scene.guest('two', [{ network: 'home', ipv4: '192.0.2.9' }]);
    await expect(scene.network('late', { ipv4: '192.0.2.0/24' })).rejects.toMatchObject({
      code: 'network.subnet_conflict',
      message: expect.stringContaining('nic0 of two'),
    });
    await expect(scene.update('web', 'nic0', { floating: '192.0.2.9' })).rejects.toMatchObject({
      code: 'network.address_taken',
    });
  });

  it('publishes what only Wirt itself listens on, for guests, at gateways; now and at every later start', async () => {
    const scene = await webOnLab();
    scene.fake.host.network.listeners.set('tcp/80@10.80.0.1', 'wirtd listens on 10.80.0.1:80');
    scene.fake.host.network.listeners.set('tcp/80@fd00:1::1', 'wirtd listens on [fd00:1::1]:80');
    scene.fake.host.network.listeners.set('tcp/80@fe80::1', 'dnsmasq listens on [fe80::1]:80');
    scene.fake.host.network.hostInterfaces.push(
      { name: 'wblab', addresses: ['10.80.0.1', 'fd00:1::1', 'fe80::1'] },
      { name: 'eth0', addresses: ['192.0.2.1', 'fe80::2'] },
    );
    await scene.update('web', 'nic0', { publish: [{ hostPort: 80, guestPort: 80 }] });
    await scene.stop('web');
    await scene.start('web');
    expect(scene.fake.host.network.plan.ports[0]?.publish).toMatchObject([{ hostPort: 80 }]);
    scene.fake.host.network.listeners.set('tcp/81@192.0.2.1', 'nginx listens on 192.0.2.1:81');
    await expect(
      scene.update('web', 'nic0', { publish: [{ hostPort: 81, guestPort: 80 }] }),
    ).rejects.toMatchObject({ code: 'network.port_taken' });
  });

  it('publishes nothing at a gateway', async () => {
    const scene = await webOnLab();
    for (const hostAddress of ['10.80.0.1', 'fd00:1:0::1'])
      await expect(
        scene.update('web', 'nic0', { publish: [{ hostAddress, hostPort: 8080, guestPort: 80 }] }),
      ).rejects.toMatchObject({
        code: 'network.port_taken',
        message: expect.stringContaining('that is the gateway of network lab'),
      });
  });

  it('is refused at the start when its port was taken meanwhile, before anything is made', async () => {
    const scene = await webOnLab(false);
    await scene.update('web', 'nic0', { publish: [http] });
    scene.fake.host.network.listeners.set('tcp/8080', 'nginx (pid 7) listens there');
    scene.fake.steps.length = 0;
    await expect(scene.start('web')).rejects.toMatchObject({
      code: 'network.port_taken',
      message: 'TCP port 8080 of the host is taken: nginx (pid 7) listens there.',
    });
    expect(scene.fake.steps).toEqual([]);
  });
});

describe('attaching a card', () => {
  it('gives a running guest one more at once, with a name, a place and addresses of its own', async () => {
    const scene = await webOnLab();
    await scene.attach('web', { network: 'lab' });
    expect(await scene.nics('web')).toMatchObject([{}, { name: 'nic1', slot: 1, ipv4: '10.80.0.3' }]);
    expect(pluggedIn(scene)).toEqual(['nic0', 'nic1']);
    expect(scene.ports()).toEqual(['web/nic0', 'web/nic1']);
    expect(await scene.faults()).toEqual([]);
  });

  it('gives a guest its first card while it runs', async () => {
    const scene = await createNetworkScene();
    await scene.guest('web', []);
    await scene.attach('web');
    expect(scene.ports()).toEqual(['web/nic0']);
    expect(await scene.faults()).toEqual([]);
  });

  it('only records it for a stopped one', async () => {
    const scene = await webOnLab(false);
    await scene.attach('web', { network: 'lab', name: 'back' });
    expect(scene.ports()).toEqual([]);
    await scene.start('web');
    expect(pluggedIn(scene)).toEqual(['nic0', 'back']);
    expect(await scene.faults()).toEqual([]);
  });

  it('gives each its own where many come at once, up to as many as fit', async () => {
    const scene = await webOnLab();
    const all = await Promise.allSettled(
      Array.from({ length: 9 }, () => scene.attach('web', { network: 'lab' })),
    );
    const refused = all.filter((one) => one.status === 'rejected');
    expect(refused.map(({ reason }) => reason.code)).toEqual([
      'instance.state_conflict',
      'instance.state_conflict',
    ]);
    expect(await scene.nics('web')).toHaveLength(8);
    expect(await scene.faults()).toEqual([]);
  });

  it('leaves nothing when the host cannot follow', async () => {
    const scene = await webOnLab();
    scene.fake.host.network.broken.add('all');
    await expect(scene.attach('web', { network: 'lab' })).rejects.toMatchObject({ code: 'network.failed' });
    scene.fake.host.network.broken.clear();
    await scene.fake.restart();
    expect(await scene.nics('web')).toHaveLength(1);
    expect(await scene.faults()).toEqual([]);
  });
});

describe('detaching a card', () => {
  it('takes it from the guest, the host and the records, and frees its address', async () => {
    const scene = await webOnLab();
    await scene.attach('web', { network: 'lab' });
    await scene.detach('web', 'nic0');
    expect(pluggedIn(scene)).toEqual(['nic1']);
    expect(scene.ports()).toEqual(['web/nic1']);
    await scene.guest('two', [{ network: 'lab' }]);
    expect(await scene.nics('two')).toMatchObject([{ ipv4: '10.80.0.2' }]);
    expect(await scene.faults()).toEqual([]);
  });

  it('is refused by a guest that does not let go, which keeps it', async () => {
    const scene = await webOnLab();
    for (const process of scene.fake.host.processes.values()) process.letsGo = false;
    await expect(scene.detach('web', 'nic0')).rejects.toMatchObject({ code: 'network.detach_refused' });
    expect(await scene.nics('web')).toHaveLength(1);
    expect(scene.ports()).toEqual(['web/nic0']);
  });

  it('says which there are when there is none of the name', async () => {
    const scene = await webOnLab();
    await expect(scene.detach('web', 'nic9')).rejects.toMatchObject({
      code: 'network.no_such_nic',
      hint: 'It has: nic0.',
    });
  });
});

const steps = {
  attach: ['choose', 'network', 'plug', 'record'].map((step) => `instance.attach-nic/${step}`),
  detach: ['unplug', 'record', 'network'].map((step) => `instance.detach-nic/${step}`),
  update: ['record', 'apply'].map((step) => `instance.update-nic/${step}`),
} as const;
const acts = {
  attach: (scene: NetworkScene) => scene.attach('web', { network: 'lab' }),
  detach: (scene: NetworkScene) => scene.detach('web', 'nic0'),
  update: (scene: NetworkScene) => scene.update('web', 'nic0', { securityGroups: [], publish: [http] }),
} as const;
const whats = ['attach', 'detach', 'update'] as const;
const cases = whats.flatMap((what) => steps[what].map((step) => [what, step] as const));

describe('to change a card', () => {
  it.each(whats)('passes the steps that these tests name, and no others: %s', async (what) => {
    const scene = await webOnLab();
    scene.fake.steps.length = 0;
    await acts[what](scene);
    expect(scene.fake.steps).toEqual(steps[what]);
  });

  it.each(cases)('by %s is finished by the next daemon when one dies at %s', async (what, step) => {
    const scene = await webOnLab();
    const { fake } = scene;
    fake.fault = { step, kind: 'die' };
    await Promise.race([acts[what](scene), fake.died()]);
    await fake.restart();
    for (const { id } of (await fake.core.actions.operation.list({ limit: 1000 })).items)
      expect(await fake.core.actions.operation.get(fake.request, id, 5)).toMatchObject({ state: 'done' });
    expect(await scene.nics('web')).toHaveLength({ attach: 2, detach: 0, update: 1 }[what]);
    expect(await scene.faults()).toEqual([]);
  });

  it.each(cases)('by %s leaves all as it was, or as it is to be, when it fails at %s', async (what, step) => {
    const scene = await webOnLab();
    scene.fake.fault = { step, kind: 'fail' };
    await expect(acts[what](scene)).rejects.toThrow();
    scene.fake.fault = undefined;
    await scene.fake.restart();
    // What a guest has let go of stays in the record until it can be recorded: it is detached once more, or there at the next start.
    const letGo = step === 'instance.detach-nic/record' ? ['web has no nic0 plugged in'] : [];
    expect(await scene.faults()).toEqual(letGo);
    // And it can be done again.
    await acts[what](scene).catch((error: unknown) =>
      expect(error).toMatchObject({ code: 'network.no_such_nic' }),
    );
    expect(await scene.faults()).toEqual([]);
  });
});
