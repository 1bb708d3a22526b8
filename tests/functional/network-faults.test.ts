// What somebody else breaks in the host's network is mended, and said; and wirtd may die between any two steps.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { killedAt } from './harness/killed.ts';
import { type Networked, networked } from './harness/networked.ts';

let net: Networked;

beforeAll(async () => {
  net = await networked();
  await Promise.all([net.guest('a'), net.guest('b')]);
});

afterAll(async () => expect(await net.end()).toEqual([]));

const pings = async (from: string, to: string): Promise<boolean> =>
  (await net.sh(from, `ping -c 1 -W 2 ${to}`)).exitCode === 0;

/** The next event of the network that tells of a repair; fails after 5 s. */
async function repaired(act: () => Promise<unknown>): Promise<string> {
  const before = (await net.networkOf('default')).status.repair?.at;
  await act();
  const deadline = AbortSignal.timeout(5_000);
  const since = (await net.networkOf('default')).revision - 1;
  const events = net.daemon.client.events({ kind: 'network', since }, deadline);
  const look = async (): Promise<string | undefined> => {
    const { repair } = (await net.networkOf('default')).status;
    return repair !== undefined && repair.at !== before ? repair.what : undefined;
  };
  for await (const _ of events) {
    const what = await look();
    if (what !== undefined) return what;
  }
  throw new Error('nothing was mended within 5 s');
}

describe('what somebody else takes away is mended within 5 s, and said', () => {
  const bridge = async () => (await net.networkOf('default')).status.interface ?? '';

  it('all rules of nftables', async () => {
    expect(await repaired(() => net.network.inside.run('nft', 'flush', 'ruleset'))).toMatch(/table wirt_/);
    expect(await net.network.inside.run('nft', 'list', 'tables')).toContain(`wirt_${net.daemon.tag}`);
    expect(await pings('a', 'b.wirt')).toBe(true);
  });

  it('the bridge', async () => {
    expect(await repaired(async () => net.network.inside.run('ip', 'link', 'del', await bridge()))).toMatch(
      /bridge/i,
    );
    expect(await pings('a', 'b.wirt')).toBe(true);
  });

  it('a card’s place on the bridge', async () => {
    const { items } = await net.daemon.client.call('GET /v1/networks/{network}/ports', {
      params: { network: 'default' },
    });
    const tap = items.find(({ instance }) => instance === 'b')?.interface ?? '';
    await repaired(() => net.network.inside.run('ip', 'link', 'set', tap, 'nomaster'));
    expect(await pings('a', 'b.wirt')).toBe(true);
  });

  it('dnsmasq', async () => {
    await repaired(() => net.network.inside.run('pkill', '-9', '-f', `dnsmasq.*${net.daemon.runDirectory}`));
    expect((await net.sh('a', 'nslookup b.wirt')).text).toContain(await net.address('b'));
  });
});

/** Until their agents answer wirtd, as they do soon after it was started. */
async function answering(...names: string[]): Promise<void> {
  const since = (await net.networkOf('default')).revision - 1;
  const missing = async () => {
    const all = await Promise.all(names.map((name) => net.instance(name)));
    return all.some(({ status }) => !status.agent);
  };
  if (!(await missing())) return;
  for await (const _ of net.daemon.client.events({ kind: 'instance', since }, AbortSignal.timeout(30_000)))
    if (!(await missing())) return;
}

/** Both guests find each other, asked when wirtd has taken them up. */
async function connected(): Promise<boolean> {
  await answering('a', 'b');
  return pings('a', 'b.wirt');
}

describe('wirtd that dies', () => {
  it('leaves its guests connected, and finds them so', async () => {
    await net.daemon.kill();
    await net.daemon.start(net.options);
    expect(await connected()).toBe(true);
    expect((await net.networkOf('default')).status.state).toBe('ready');
  });

  it('mends at its start what was changed while it was away', async () => {
    await net.daemon.kill();
    await net.network.inside.run('nft', 'flush', 'ruleset');
    await net.daemon.start(net.options);
    expect(await net.network.inside.run('nft', 'list', 'tables')).toContain(`wirt_${net.daemon.tag}`);
    expect(await connected()).toBe(true);
  });

  const steps = {
    attach: ['choose', 'network', 'plug', 'record'].map((step) => `instance.attach-nic/${step}`),
    detach: ['unplug', 'record', 'network'].map((step) => `instance.detach-nic/${step}`),
    update: ['record', 'apply'].map((step) => `instance.update-nic/${step}`),
    create: ['record', 'apply'].map((step) => `network.create/${step}`),
    remove: ['record', 'apply'].map((step) => `network.remove/${step}`),
  };

  /** A second network, made by who needs it first. */
  async function extra(): Promise<void> {
    const { items } = await net.daemon.client.call('GET /v1/networks', {});
    if (!items.some(({ name }) => name === 'extra'))
      await net.cli('network', 'create', 'extra', '--kind', 'isolated');
  }

  it.each(steps.attach)('at %s has attached the card afterwards, or not at all', async (step) => {
    await extra();
    await killedAt(
      net.daemon,
      step,
      () =>
        net.daemon.client.call('POST /v1/instances/{instance}/nics', {
          params: { instance: 'a' },
          body: { network: 'extra' },
          query: { wait: 'done' },
        }),
      net.options,
    );
    await answering('a');
    const { spec } = await net.instance('a');
    const there = spec.nics.filter(({ network }) => network === 'extra');
    const { items } = await net.daemon.client.call('GET /v1/networks/{network}/ports', {
      params: { network: 'extra' },
    });
    expect(items.map(({ mac }) => mac)).toEqual(there.map(({ mac }) => mac));
    for (const { mac, name } of there) {
      await net.hasCard('a', mac);
      await net.cli('network', 'detach', 'a', name);
    }
    expect(await connected()).toBe(true);
  });

  it.each(steps.detach)('at %s has detached the card afterwards', async (step) => {
    await extra();
    await net.cli('network', 'attach', 'a', 'extra');
    const nic = (await net.instance('a')).spec.nics.find(({ network }) => network === 'extra');
    await killedAt(
      net.daemon,
      step,
      () =>
        net.daemon.client.call('DELETE /v1/instances/{instance}/nics/{nic}', {
          params: { instance: 'a', nic: nic?.name ?? '' },
          query: { wait: 'done' },
        }),
      net.options,
    );
    expect((await net.instance('a')).spec.nics.map(({ network }) => network)).toEqual(['default']);
    expect((await net.sh('a', 'cat /sys/class/net/*/address')).text).not.toContain(nic?.mac);
    expect(await connected()).toBe(true);
  });

  it.each(steps.update)('at %s has published the port afterwards, or not at all', async (step) => {
    const params = { instance: 'b', nic: 'nic0' };
    const publish = [{ hostPort: 8080, guestPort: 80 }];
    await killedAt(
      net.daemon,
      step,
      () =>
        net.daemon.client.call('PATCH /v1/instances/{instance}/nics/{nic}', {
          params,
          body: { publish },
          query: { wait: 'done' },
        }),
      net.options,
    );
    const [nic] = (await net.instance('b')).spec.nics;
    const rules = await net.network.inside.run(
      'nft',
      'list',
      'map',
      'inet',
      `wirt_${net.daemon.tag}`,
      'publish4',
    );
    expect(rules.includes('8080')).toBe(nic?.publish.length === 1);
    await net.cli('network', 'unpublish', 'b', '8080').catch(() => undefined);
    expect(await connected()).toBe(true);
  });

  it.each(steps.create)('at %s has made the network afterwards, or not at all', async (step) => {
    const body = { name: 'later' };
    await killedAt(
      net.daemon,
      step,
      () => net.daemon.client.call('POST /v1/networks', { body }),
      net.options,
    );
    const { items } = await net.daemon.client.call('GET /v1/networks', {});
    const bridges = await net.network.inside.run('ip', '-br', 'link', 'show', 'type', 'bridge');
    expect(bridges.trim().split('\n')).toHaveLength(items.length);
    await net.cli('network', 'rm', 'later').catch(() => undefined);
    expect(await connected()).toBe(true);
  });

  it.each(steps.remove)('at %s has removed the network afterwards, or not at all', async (step) => {
    await net.cli('network', 'create', 'gone');
    const params = { network: 'gone' };
    await killedAt(
      net.daemon,
      step,
      () => net.daemon.client.call('DELETE /v1/networks/{network}', { params }),
      net.options,
    );
    const { items } = await net.daemon.client.call('GET /v1/networks', {});
    const bridges = await net.network.inside.run('ip', '-br', 'link', 'show', 'type', 'bridge');
    expect(bridges.trim().split('\n')).toHaveLength(items.length);
    await net.cli('network', 'rm', 'gone').catch(() => undefined);
    expect(await connected()).toBe(true);
  });
});
