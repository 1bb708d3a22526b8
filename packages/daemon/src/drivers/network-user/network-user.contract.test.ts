import { once } from 'node:events';
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { emptyNetworkPlan, type NetworkDriver, type NetworkPlan, type PlannedPort } from '@wirt/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isRoot, owner, passtMissing, passtsBelow } from './harness.fixture.ts';
import { createUserNetwork, type UserNetworkOptions } from './network-user.ts';

const reconnecting = { 'stream-network': true, 'stream-reconnect': true };
const of72 = { 'stream-network': true };
const skipped = passtMissing();
const logged: string[] = [];
const log = (event: string): void => void logged.push(event);
const logger = { debug: log, info: log, warn: log, error: log };
const never = new AbortController().signal;
const networkId = '01K00000000000000000000009';

let runDirectory = '';
const drivers: NetworkDriver[] = [];
beforeEach(async () => {
  runDirectory = await mkdtemp(join(tmpdir(), 'wirt-user-'));
  await chmod(runDirectory, 0o755);
  logged.splice(0);
});
afterEach(async () => {
  for (const driver of drivers.splice(0))
    await driver.apply(emptyNetworkPlan, never).then(() => driver.close());
  await rm(runDirectory, { recursive: true });
});

function open(
  options: Partial<Pick<UserNetworkOptions, 'passt'>> & { features?: Record<string, boolean> } = {},
): NetworkDriver {
  const { features = reconnecting, ...rest } = options;
  const driver = createUserNetwork({ runDirectory, logger, qemuFeatures: async () => features, ...rest });
  drivers.push(driver);
  return driver;
}

function port(more: Partial<PlannedPort> = {}): PlannedPort {
  return {
    instance: '01K00000000000000000000001',
    nic: 'nic0',
    network: networkId,
    hostname: 'web',
    mac: '02:00:00:00:00:01',
    groups: [],
    publish: [],
    antiSpoofing: true,
    queues: 1,
    mtu: 1500,
    owner,
    ...more,
  };
}

function plan(...ports: PlannedPort[]): NetworkPlan {
  const network = {
    id: networkId,
    name: 'default',
    kind: 'nat',
    mtu: 1500,
    domain: 'wirt',
    dnsForward: true,
  } as const;
  return { ...emptyNetworkPlan, networks: [network], ports };
}

/** On an address of this test run's own, so that several do not meet. */
const published = (hostPort: number, more: object = {}) => ({
  protocol: 'tcp' as const,
  hostAddress: `127.99.${(process.pid >> 8) & 255}.${process.pid & 255}`,
  hostPort,
  guestPort: 22,
  ...more,
});

const passts = (): Promise<number[]> => passtsBelow(runDirectory);

function socketOf(driver: NetworkDriver, of = port()): string {
  const backend = driver.backend(of);
  if (backend.type !== 'stream') throw new Error(`The backend is ${backend.type}.`);
  return backend.path;
}

describe('in user mode', () => {
  it('a card is on slirp where QEMU does not connect again, and none is started', async () => {
    const driver = open({ features: of72 });
    await driver.apply(plan(port({ publish: [published(20_022)] })), never);
    expect(driver.backend(port())).toEqual({ type: 'user', hostname: 'web', forwards: [published(20_022)] });
    expect(await passts()).toEqual([]);
  });

  it('what cannot be is refused by name, once, and all else is done', async () => {
    const driver = open({ passt: 'never' });
    const low = port({ nic: 'low', publish: [published(80)] });
    const six = port({ nic: 'six', publish: [published(8080, { hostAddress: '::1' })] });
    const wanted = isRoot ? [low, six] : [six];
    for (const one of wanted)
      await expect(driver.apply(plan(port(), one), never)).rejects.toMatchObject({
        code: 'network.unsupported',
        message: expect.stringContaining(one.nic),
        details: { networks: [networkId], instances: [one.instance] },
      });
    expect(driver.backend(port())).toMatchObject({ type: 'user' });
    const network = plan().networks[0];
    if (network === undefined) throw new Error('The plan has a network.');
    expect(await driver.refuses(network)).toBeUndefined();
    for (const other of [
      { kind: 'isolated' as const },
      { mtu: 9000 },
      { ipv4: { subnet: '10.9.0.0/24', gateway: '10.9.0.1' } },
    ])
      expect(await driver.refuses({ ...network, ...other })).toMatchObject({
        hint: expect.stringMatching(/./),
      });
    await expect(
      driver.probe({ network: networkId, groups: [], from: '', to: '', protocol: 'tcp' }, never),
    ).rejects.toMatchObject({
      code: 'network.unsupported',
    });
  });

  it('published ports stay while the card is plugged in, and are taken with the next', async () => {
    const driver = open({ passt: 'never' });
    await driver.apply(plan(port()), never);
    const changed = port({ publish: [published(8080)] });
    await expect(driver.apply(plan(changed), never)).rejects.toMatchObject({ code: 'network.unsupported' });
    await driver.apply(plan(changed), never);
    await driver.apply(plan(), never);
    await driver.apply(plan(changed), never);
    expect(driver.backend(port())).toMatchObject({ forwards: changed.publish });
  });
});

describe.skipIf(skipped)(`with passt${skipped ? ` (skipped: ${skipped})` : ''}`, () => {
  it('a card has a process of its own, confined, as the guest’s user, that listens where it is published', async () => {
    const driver = open();
    await driver.apply(plan(port({ publish: [published(20_022)] }), port({ nic: 'nic1' })), never);
    const pids = await passts();
    expect(pids).toHaveLength(2);
    for (const pid of pids) {
      const status = await readFile(`/proc/${pid}/status`, 'utf8');
      expect(status).toMatch(new RegExp(`^Uid:\t${owner.uid}\t${owner.uid}\t`, 'm'));
      expect(status).toMatch(/^NoNewPrivs:\t1$/m);
      expect(status).toMatch(/^Seccomp:\t2$/m);
    }
    expect(driver.backend(port())).toMatchObject({ type: 'stream', reconnect: 'reconnect' });
    expect(await driver.listener('tcp', 20_022, published(1).hostAddress)).toContain('passt');
    expect(await driver.listener('udp', 20_022, published(1).hostAddress)).toBeUndefined();
    expect(await driver.observe(networkId, never)).toEqual({
      ports: [
        { instance: port().instance, nic: 'nic0', leases: [] },
        { instance: port().instance, nic: 'nic1', leases: [] },
      ],
      rules: [],
    });
    await driver.apply(plan(port({ publish: [published(20_022)] })), never);
    expect(await passts()).toHaveLength(1);
    await driver.apply(emptyNetworkPlan, never);
    expect(await passts()).toEqual([]);
    expect(await readdir(join(runDirectory, 'passt'))).toEqual([]);
  });

  it('it is taken up by the next daemon, which ends those that have no port', async () => {
    const first = open();
    await first.apply(plan(port(), port({ nic: 'nic1' })), never);
    const before = await passts();
    await first.close();
    const second = open();
    await second.apply(plan(port()), never);
    expect(second.backend(port())).toMatchObject({ type: 'stream' });
    const after = await passts();
    expect(after).toHaveLength(1);
    expect(before).toContain(after[0]);
  });

  it('it ends with the QEMU that had connected', async () => {
    const driver = open();
    await driver.apply(plan(port()), never);
    const socket = connect(socketOf(driver));
    await once(socket, 'connect');
    socket.destroy();
    await expect.poll(passts, { timeout: 5_000 }).toEqual([]);
  });

  it('it is started again when it was killed, and that is said', async () => {
    const driver = open();
    await driver.apply(plan(port()), never);
    const said = new Promise((resolve) => driver.onRepair(resolve));
    const [pid = 0] = await passts();
    process.kill(pid, 'SIGKILL');
    expect(await said).toMatchObject({ network: networkId, what: expect.stringContaining('passt') });
    expect(await passts()).not.toContain(pid);
    const socket = connect(socketOf(driver));
    await once(socket, 'connect');
    socket.destroy();
  });

  it('one that was killed is told of in the log where QEMU does not connect again', async () => {
    const driver = open({ passt: 'always', features: of72 });
    await driver.apply(plan(port()), never);
    const [pid = 0] = await passts();
    process.kill(pid, 'SIGKILL');
    await expect.poll(() => logged, { timeout: 8_000 }).toContain('network.passt_lost');
    expect(await passts()).toEqual([]);
  });

  it('a card is on slirp where passt does not start', async () => {
    const driver = open();
    const clash = published(20_023);
    const first = port({ publish: [clash] });
    await driver.apply(plan(first), never);
    await driver.apply(plan(first, port({ nic: 'nic1', publish: [clash] })), never);
    expect(driver.backend(port())).toMatchObject({ type: 'stream' });
    expect(driver.backend(port({ nic: 'nic1' }))).toMatchObject({ type: 'user' });
    expect(logged).toContain('network.passt_failed');
  });
});
