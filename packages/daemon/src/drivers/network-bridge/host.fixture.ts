/** For tests: a host in a namespace of its own, on which daemons with this driver live, and guests that are namespaces. */
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { NetworkDriver, PlannedPort } from '@wirt/core';
import type { NetworkUnderTest } from '@wirt/core/contract/network';
import { createNetns, type TestNetns } from '../../platform/netns.fixture.ts';
import { serversOf } from './leftovers.ts';
import { createNames } from './names.ts';
import { type RemoteDriver, startDriver } from './remote.fixture.ts';

export interface TestHost extends NetworkUnderTest {
  readonly netns: TestNetns;
  readonly directory: string;
  start(options?: { readonly tag?: string; readonly resolvConf?: string }): Promise<RemoteDriver>;
  /** A namespace with an interface `eth0` that is at the other end of the port's tap, by two QEMUs. */
  guest(port: PlannedPort): Promise<TestNetns>;
  /** Pids of dnsmasqs of the daemon. */
  servers(): Promise<number[]>;
}

/** Asks every few milliseconds: QEMU tells nobody when its netdevs are there. */
export async function expectSoon(
  holds: () => boolean | Promise<boolean>,
  what: string,
  withinMs = 10_000,
): Promise<void> {
  const untilMs = performance.now() + withinMs;
  while (!(await holds())) {
    if (performance.now() > untilMs) throw new Error(`${what} did not come within ${withinMs} ms`);
    await setTimeout(20);
  }
}

export const testTag = 'wirttest';

export async function createTestHost(): Promise<TestHost> {
  await using undo = new AsyncDisposableStack();
  const netns = undo.use(await createNetns());
  const directory = await mkdtemp(join(tmpdir(), 'wirt-net-'));
  undo.defer(() => rm(directory, { recursive: true, force: true }));
  // The user of dnsmasq reads below it.
  await chmod(directory, 0o711);
  const runRoot = join(directory, 'run', 'network');
  undo.defer(async () => {
    for (const pid of await serversOf(directory)) process.kill(pid, 'SIGKILL');
  });
  const drivers = new Set<RemoteDriver>();
  undo.defer(async () => {
    await Promise.all([...drivers].map((driver) => driver.kill()));
  });
  const places: TestNetns[] = [];
  undo.defer(async () => {
    await Promise.all(places.map((place) => place[Symbol.asyncDispose]()));
  });
  const forwarding = async () =>
    await netns.run('cat', ['/proc/sys/net/ipv4/ip_forward', '/proc/sys/net/ipv6/conf/all/forwarding']);
  const before = await forwarding();
  const held = undo.move();

  return {
    netns,
    directory,
    capabilities: { interfaces: true, probes: true, rates: true, ports: 300 },
    owner: { uid: 987_650, gid: 987_650 },
    async start({ tag = testTag, ...more } = {}) {
      const driver = await startDriver(netns, {
        tag,
        runDirectory: join(directory, tag === testTag ? 'run' : `run-${tag}`),
        stateDirectory: join(directory, tag === testTag ? 'state' : `state-${tag}`),
        ...more,
      });
      drivers.add(driver);
      return driver;
    },
    kill: async (driver: NetworkDriver) => await (driver as RemoteDriver).kill(),
    async harm(driver, network) {
      await netns.ip(`link del dev ${driver.interfaceOf(network)}`);
    },
    async listen(protocol, address) {
      const script = protocol === 'tcp' ? tcpListener : udpListener;
      const child = netns.start(process.execPath, ['-e', script, address]);
      const port = await new Promise<number>((resolve) => {
        child.stdout?.once('data', (data: Buffer) => resolve(Number(data.toString())));
      });
      return { port };
    },
    async guest(port) {
      const place = await createNetns();
      places.push(place);
      const ends = ['far', 'near'].map((end) => join(directory, `${places.length}.${end}`));
      const [farEnd = '', nearEnd = ''] = ends;
      await place.ip(
        `tuntap add dev eth0 mode tap`,
        `link set dev eth0 address ${port.mac} mtu ${port.mtu} up`,
      );
      const tap = createNames(testTag).port(port);
      // By default ten frames wait in such a cable, and more are lost.
      for (const end of [place, netns]) await end.run('sysctl', ['-qw', 'net.unix.max_dgram_qlen=2000']);
      const far = place.start(...cable('eth0', farEnd, nearEnd));
      const near = netns.start(...cable(tap, nearEnd, farEnd));
      await expectSoon(() => ends.every((end) => existsSync(end)), 'the cable of a guest');
      await expectSoon(
        async () => (await netns.run('ip', ['link', 'show', tap])).includes('LOWER_UP'),
        'the tap of a guest',
      );
      for (const child of [far, near]) child.stdout?.resume();
      return place;
    },
    servers: () => serversOf(runRoot),
    async remains() {
      const links = (await netns.run('ip', ['-o', 'link']))
        .split('\n')
        .filter((line) => !/^1: lo:|^$/.test(line));
      const tables = (await netns.run('nft', ['list', 'tables'])).split('\n').filter((line) => line !== '');
      const addresses = (await netns.run('ip', ['-o', 'addr', 'show', 'scope', 'global']))
        .split('\n')
        .filter((line) => line !== '');
      const files = (
        await Promise.all(
          ['run', 'state'].map((folder) =>
            readdir(join(directory, folder), { recursive: true }).catch(() => []),
          ),
        )
      ).flat();
      const rates = (await netns.run('tc', ['qdisc', 'show']))
        .split('\n')
        .filter((line) => /^qdisc (tbf|ingress|clsact) /.test(line));
      const servers = (await serversOf(runRoot)).map((pid) => `dnsmasq ${pid}`);
      const now = await forwarding();
      // The numbers and states of links are not what was made.
      const stable = (line: string): string => /^\d+: ([^:@]+)/.exec(line)?.[1] ?? line;
      return [
        ...links.map(stable),
        ...tables,
        ...rates.map((line) => line.replace(/ [0-9a-f]+: /, ' ').trim()),
        ...addresses.map((line) => line.replace(/^\d+: /, '').trim()),
        ...files.filter((file) => file !== 'network'),
        ...servers.map(() => 'a dnsmasq'),
        ...(now === before ? [] : ['forwarding']),
      ];
    },
    async cleanUp() {
      await held.disposeAsync();
    },
  };
}

/**
 * QEMU without a machine: what the tap sends goes to the other end, and the other way. So the tap is opened by who opens it for guests.
 * By datagrams: a `stream` of QEMU 7.2 ends with a segmentation fault when its tap sends before the other end is connected.
 */
function cable(tap: string, local: string, remote: string): [string, string[]] {
  const netdevs = [
    `tap,id=near,ifname=${tap},script=no,downscript=no,vnet_hdr=off`,
    `dgram,id=far,local.type=unix,local.path=${local},remote.type=unix,remote.path=${remote}`,
    ...['near', 'far'].map((id, at) => `hubport,id=h${at},hubid=0,netdev=${id}`),
  ];
  const args = netdevs.flatMap((netdev) => ['-netdev', netdev]);
  return ['qemu-system-x86_64', ['-M', 'none', '-nodefaults', '-display', 'none', ...args]];
}

const tcpListener = `const s = require('node:net').createServer().listen(0, process.argv[1], () => console.log(s.address().port))`;
const udpListener = `const s = require('node:dgram').createSocket('udp6').bind(0, process.argv[1], () => console.log(s.address().port))`;
