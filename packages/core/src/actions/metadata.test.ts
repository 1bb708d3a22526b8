import type { CloudInitShown, Instance, Network, Nic, SecurityGroup, WirtError } from '@wirt/api';
import { expect, it } from 'vitest';
import { createMemoryStore } from '../fakes/memory-store.ts';
import type { Json } from '../ports/store.ts';
import type { MetadataEndpoint } from './actions.ts';
import { createMetadataActions, requireService } from './metadata.ts';

const head = { labels: {}, revision: 1, createdAt: '2030-01-01T00:00:00.000Z' };
const ids = {
  home: '01J000000000000000000000H1',
  other: '01J000000000000000000000H2',
  foreign: '01J000000000000000000000H3',
};

function networkOf(
  id: string,
  name: string,
  given: Partial<Network['spec'] & Network['status']> = {},
): Network {
  const { kind = 'nat', driver = 'bridge', gateways = ['10.1.0.1', 'fd01::1'], ...rest } = given;
  const spec = { kind, mtu: 1500, domain: 'wirt', dnsForward: true } as const;
  const status = { driver, state: 'ready', gateways, ...rest } as const;
  return { ...head, project: 'default', id, name, spec, status };
}

function instanceOf(
  id: string,
  network: string,
  ipv4: string,
  given: Partial<Instance['spec']> = {},
): Instance {
  const nic: Nic = {
    name: 'nic0',
    slot: 0,
    network,
    mac: '02:00:00:00:00:01',
    ipv4,
    ipv6: 'fd01::5',
    model: 'virtio',
    securityGroups: ['default'],
    publish: [],
    antiSpoofing: true,
  };
  return {
    ...head,
    project: 'default',
    id,
    name: id.slice(-2).toLowerCase(),
    spec: {
      cpus: 1,
      memoryMib: 256,
      machine: 'q35',
      accelerator: 'auto',
      nics: [nic],
      metadata: { enabled: true, tokens: 'required', hopLimit: 1 },
      disks: [],
      restart: 'never',
      autostart: false,
      overcommit: false,
      ...given,
    },
    status: { state: 'running', since: head.createdAt, agent: false, restarts: 0 },
  };
}

const one = '01J000000000000000000000A1';
const two = '01J000000000000000000000A2';
const three = '01J000000000000000000000A3';
const cloudInit: CloudInitShown = {
  datasource: 'metadata',
  hostname: 'one',
  sshKeys: [],
  password: false,
  userData: true,
  networkConfig: false,
};

function scene() {
  const store = createMemoryStore();
  const networks = [networkOf(ids.home, 'home'), networkOf(ids.other, 'other')];
  const foreign: Network = { ...networkOf(ids.foreign, 'home'), project: 'foreign' };
  const instances = [
    instanceOf(one, 'home', '10.1.0.5', { cloudInit }),
    instanceOf(two, 'other', '10.1.0.5', { cloudInit: { ...cloudInit, userData: false } }),
    { ...instanceOf(three, 'home', '10.1.0.7'), project: 'foreign' },
  ];
  const records = [...networks, foreign];
  const group = { ...head, id: one, project: 'default', name: 'default', spec: { rules: [] } };
  const read: string[] = [];
  const actions = createMetadataActions({
    store,
    networks: {
      get: (id) => records.find((record) => record.id === id),
      find: (ref, scope) => records.find(({ name, project }) => name === ref && project === scope),
    },
    // Of a group only name and id are looked at.
    groups: { find: () => group as unknown as SecurityGroup },
    instances: { after: () => instances },
    images: { find: () => undefined },
    seeds: {
      userData: async (id) => {
        read.push(id);
        return Uint8Array.of(1, 2, 3);
      },
    },
  });
  return { store, actions, instances, read };
}

it('knows a guest by the network and its address on it, and by nothing less', async () => {
  const { actions } = scene();
  const asked = async (network: string, address: string) => (await actions.guest(network, address))?.id;
  expect(await asked(ids.home, '10.1.0.5')).toBe(one);
  expect(await asked(ids.home, '::ffff:10.1.0.5')).toBeUndefined();
  expect(await asked(ids.home, 'fd01::5')).toBe(one);
  expect(await asked(ids.home, 'fd01:0::0:5')).toBe(one);
  expect(await asked(ids.other, '10.1.0.5')).toBe(two);
  expect(await asked(ids.foreign, '10.1.0.7')).toBe(three);
  for (const address of ['10.1.0.7', '10.1.0.6', '', 'x', 'fd01::5%eth0', '0'])
    expect(await asked(ids.home, address), address).toBeUndefined();
  expect(await asked('nothing', '10.1.0.5')).toBeUndefined();
});

it('gives a guest its own user-data, and reads none where none was given', async () => {
  const { actions, read } = scene();
  const first = await actions.guest(ids.home, '10.1.0.5');
  expect([first?.hasUserData, await first?.userData()]).toEqual([true, Uint8Array.of(1, 2, 3)]);
  const second = await actions.guest(ids.other, '10.1.0.5');
  expect([second?.hasUserData, await second?.userData()]).toEqual([false, undefined]);
  const third = await actions.guest(ids.foreign, '10.1.0.7');
  expect([third?.hasUserData, await third?.userData()]).toEqual([false, undefined]);
  expect(read).toEqual([one]);
});

it('says what the instance allows, and shows its cards with network and groups', async () => {
  const { actions, instances } = scene();
  const [first] = instances;
  if (first === undefined) throw new Error('there is none');
  first.spec.metadata = { enabled: false, tokens: 'optional', hopLimit: 1 };
  const guest = await actions.guest(ids.home, '10.1.0.5');
  expect(guest).toMatchObject({ enabled: false, tokens: 'optional' });
  const at = (path: string) => guest?.at(path.split('/'));
  expect(at('meta-data/local-hostname')).toEqual({ text: 'one.wirt', isFolder: false });
  expect(at('meta-data/security-groups')).toEqual({ text: 'default', isFolder: false });
  expect(at('dynamic')).toEqual({ text: 'instance-identity/', isFolder: true });
  expect(guest?.at([])).toEqual({ text: 'dynamic\nmeta-data', isFolder: true });
  for (const path of ['nothing', 'dynamic/x', 'meta-data/mac/x', '__proto__'])
    expect(at(path), path).toBeUndefined();
});

it('tells where the service is to be, and again when that has changed, and only then', async () => {
  const { store, actions } = scene();
  const put = async (network: Network): Promise<void> => {
    const { revision: _, ...value } = network;
    await store.write([
      { type: 'put', key: `network/${network.id}`, value: value as unknown as Json },
      { type: 'put', key: `name/network/default/${network.name}`, value: network.id },
    ]);
  };
  await put(networkOf(ids.home, 'home'));
  await put(networkOf(ids.foreign, 'lan', { kind: 'bridged', gateways: ['192.0.2.1'] }));
  const ended = new AbortController();
  const told = actions.endpoints(ended.signal)[Symbol.asyncIterator]();
  const next = async (): Promise<string[]> => {
    const { value } = (await told.next()) as { value: readonly MetadataEndpoint[] };
    return value.map(({ network, address, port }) => `${network} ${address} ${port}`);
  };
  const home = [`${ids.home} 10.1.0.1 80`, `${ids.home} fd01::1 80`];
  expect(await next()).toEqual(home);
  // Nothing of these changes where guests reach it.
  await put(networkOf(ids.home, 'home', { message: 'mended' }));
  await put(networkOf(ids.foreign, 'users', { driver: 'user', gateways: ['10.0.2.2'] }));
  await put(networkOf(ids.other, 'other', { gateways: ['10.2.0.1'] }));
  expect(await next()).toEqual([...home, `${ids.other} 10.2.0.1 80`]);
  await store.write([{ type: 'delete', key: `network/${ids.home}` }]);
  expect(await next()).toEqual([`${ids.other} 10.2.0.1 80`]);
  ended.abort();
  expect(await told.next()).toMatchObject({ done: true });
});

it.each([
  ['bridge', 'home', undefined],
  ['bridge', 'not-yet', undefined],
  ['bridge', 'lan', 'network.unsupported'],
  ['bridge', 'vault', undefined],
  ['bridge', 'vault-ipv6', 'network.unsupported'],
  ['user', 'home', 'network.unsupported'],
] as const)(
  'sets up an instance by driver %s on network %s, or says that it cannot: %s',
  (driver, network, code) => {
    const vault = network.startsWith('vault');
    const kind = network === 'lan' ? 'bridged' : vault ? 'isolated' : 'nat';
    const ipv4 = network === 'vault-ipv6' ? null : '10.1.0.0/24';
    const there = networkOf(ids.home, network, { kind });
    const record = { ...there, spec: { ...there.spec, ipv4 } };
    const parts = {
      network: { driver },
      networks: { find: () => (network === 'not-yet' ? undefined : record) },
      // Nothing else is looked at.
    } as unknown as Parameters<typeof requireService>[0];
    const said = (): unknown => {
      try {
        return requireService(parts, instanceOf(one, network, '10.1.0.5'));
      } catch (error) {
        return (error as WirtError).code;
      }
    };
    expect(said()).toBe(code);
  },
);
