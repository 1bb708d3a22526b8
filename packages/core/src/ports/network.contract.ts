// What every NetworkDriver must do, run against the real host. What only one in the host's kernel can do is asked of those that say they can.
import { afterEach, describe, expect, it } from 'vitest';
import {
  emptyNetworkPlan,
  type NetworkPlan,
  type PlannedNetwork,
  type PlannedPort,
} from '../domain/network-plan.ts';
import type { NetworkDriver, Repaired } from './network.ts';

export interface NetworkCapabilities {
  /** Networks have interfaces on the host, and kinds other than `nat`. */
  readonly interfaces: boolean;
  /** A packet can be sent from a guest's place. */
  readonly probes: boolean;
  /** Cards have rates: see network-limits.contract.ts. */
  readonly rates: boolean;
  /** How many cards are plugged in at once. */
  readonly ports: number;
}

export interface NetworkUnderTest {
  readonly capabilities: NetworkCapabilities;
  /** A daemon on the host; again, after the one before was closed or killed: the same one, started again. */
  start(): Promise<NetworkDriver>;
  /** The daemon dies as by `kill -9`. */
  kill(driver: NetworkDriver): Promise<void>;
  /** Takes away, behind the driver's back, something that the network cannot do without; undefined where there is nothing. */
  readonly harm?: (driver: NetworkDriver, network: string) => Promise<void>;
  /** Somebody else listens there until the test's end, where the driver looks for it. */
  listen(protocol: 'tcp' | 'udp', address: string): Promise<{ readonly port: number }>;
  /** Whose cards are. */
  readonly owner: PlannedPort['owner'];
  /** What the driver has made and is still there, in words. */
  remains(): Promise<readonly string[]>;
  cleanUp(): Promise<void>;
}

export const networkIds = { one: '01K00000000000000000000011', two: '01K00000000000000000000012' } as const;

const idOf = (number: number): string => `01K0000000000000000001${String(number).padStart(4, '0')}`;

/** The second network is at 10.182, and so on. */
export function testNetwork(number: 1 | 2, more: Partial<PlannedNetwork> = {}): PlannedNetwork {
  return {
    id: number === 1 ? networkIds.one : networkIds.two,
    name: number === 1 ? 'one' : 'two',
    kind: 'nat',
    mtu: 1500,
    domain: 'wirt',
    dnsForward: true,
    ...more,
  };
}

export function testSubnets(number: 1 | 2): Pick<PlannedNetwork, 'ipv4' | 'ipv6'> {
  return {
    ipv4: { subnet: `10.${180 + number}.0.0/16`, gateway: `10.${180 + number}.0.1` },
    ipv6: { subnet: `fd00:18${number}::/64`, gateway: `fd00:18${number}::1` },
  };
}

export function contractPlan(plan: Partial<NetworkPlan>): NetworkPlan {
  return { ...emptyNetworkPlan, ...plan };
}

export function networkContract(name: string, make: () => Promise<NetworkUnderTest>): void {
  describe(`${name} as NetworkDriver`, () => {
    let under: NetworkUnderTest | undefined;
    const signal = (): AbortSignal => AbortSignal.timeout(50_000);

    async function host(): Promise<NetworkUnderTest> {
      under = await make();
      return under;
    }
    const network = (number: 1 | 2 = 1): PlannedNetwork =>
      testNetwork(number, under?.capabilities.interfaces ? testSubnets(number) : {});
    function port(number: number, more: Partial<PlannedPort> = {}): PlannedPort {
      const [high, low] = [number >> 8, number & 255];
      return {
        instance: idOf(number),
        nic: 'nic0',
        network: networkIds.one,
        hostname: `guest${number}`,
        mac: `02:00:00:00:${high.toString(16).padStart(2, '0')}:${low.toString(16).padStart(2, '0')}`,
        ...(under?.capabilities.interfaces ? { ipv4: `10.181.${high + 1}.${low}` } : {}),
        groups: [],
        publish: [],
        antiSpoofing: true,
        queues: 1,
        mtu: 1500,
        owner: under?.owner ?? { uid: 0, gid: 0 },
        ...more,
      };
    }

    afterEach(async () => {
      await under?.cleanUp();
      under = undefined;
    });

    it('can be used here, and makes nothing until it is told to', async () => {
      const { start, remains } = await host();
      const driver = await start();
      expect(await driver.unusable()).toBeUndefined();
      expect(await driver.refuses(network())).toBeUndefined();
      await driver.apply(emptyNetworkPlan, signal());
      expect(await remains()).toEqual([]);
      await driver.close();
    });

    it('gives each card of the plan a connection of its own, for as long as it is in the plan', async () => {
      const { start, remains } = await host();
      const driver = await start();
      const ports = [port(1), port(2), port(2, { nic: 'nic1', mac: '02:00:00:00:99:01', ...ifAddressed(3) })];
      await driver.apply(contractPlan({ networks: [network()], ports }), signal());
      const backends = ports.map((each) => driver.backend(each));
      if (backends[0]?.type !== 'user')
        expect(new Set(backends.map((each) => JSON.stringify(each))).size).toBe(3);
      // The others are as they were while one comes and goes.
      await driver.apply(contractPlan({ networks: [network()], ports: ports.slice(0, 2) }), signal());
      expect(ports.slice(0, 2).map((each) => driver.backend(each))).toEqual(backends.slice(0, 2));
      expect(() => driver.backend(ports[2] ?? port(9))).toThrow();
      await driver.apply(emptyNetworkPlan, signal());
      expect(() => driver.backend(port(1))).toThrow();
      expect(await remains()).toEqual([]);
      await driver.close();
    });

    /** The address of a card, where the driver gives addresses. */
    const ifAddressed = (number: number): Partial<PlannedPort> =>
      under?.capabilities.interfaces ? { ipv4: `10.181.1.${number}` } : {};

    it('costs next to nothing when it is told the same again', async () => {
      const { start } = await host();
      const driver = await start();
      const plan = contractPlan({ networks: [network()], ports: [port(1)] });
      await driver.apply(plan, signal());
      const startedMs = performance.now();
      for (let again = 0; again < 20; again += 1) await driver.apply(structuredClone(plan), signal());
      // Not even one program is started for each.
      expect(performance.now() - startedMs).toBeLessThan(1_000);
      await driver.apply(emptyNetworkPlan, signal());
      await driver.close();
    });

    it('makes nothing for one who has given up, and goes on with the next', async () => {
      const { start } = await host();
      const driver = await start();
      const plan = contractPlan({ networks: [network()], ports: [port(1)] });
      const given = new Error('given up');
      await expect(driver.apply(plan, AbortSignal.abort(given))).rejects.toThrow();
      await driver.apply(plan, signal());
      expect(driver.backend(port(1))).toBeDefined();
      await driver.apply(emptyNetworkPlan, signal());
      await driver.close();
    });

    it('takes calls at the same time in their order', async () => {
      const { start, remains } = await host();
      const driver = await start();
      const plan = contractPlan({ networks: [network()], ports: [port(1)] });
      await Promise.all([
        driver.apply(plan, signal()),
        driver.apply(emptyNetworkPlan, signal()),
        driver.apply(plan, signal()),
        driver.apply(emptyNetworkPlan, signal()),
      ]);
      expect(await remains()).toEqual([]);
      await driver.close();
    });

    it('keeps what it made over a restart, and over its death', async () => {
      const { start, kill, remains } = await host();
      const plan = contractPlan({ networks: [network()], ports: [port(1), port(2)] });
      const first = await start();
      await first.apply(plan, signal());
      const backends = plan.ports.map((each) => first.backend(each));
      const made = await remains();
      await first.close();
      const second = await start();
      await second.apply(plan, signal());
      expect(plan.ports.map((each) => second.backend(each))).toEqual(backends);
      await kill(second);
      const third = await start();
      // What is in the plan no more goes away, though it was another daemon's making.
      await third.apply(contractPlan({ networks: [network()], ports: [port(1)] }), signal());
      expect(third.backend(port(1))).toEqual(backends[0]);
      expect(() => third.backend(port(2))).toThrow();
      expect((await remains()).length).toBeLessThanOrEqual(made.length);
      await third.apply(emptyNetworkPlan, signal());
      expect(await remains()).toEqual([]);
      await third.close();
    });

    it('plugs in many cards at once', async () => {
      const { start, capabilities, remains } = await host();
      const driver = await start();
      const ports = Array.from({ length: capabilities.ports }, (_none, index) => port(index + 1));
      await driver.apply(contractPlan({ networks: [network()], ports }), signal());
      for (const each of ports) expect(driver.backend(each)).toBeDefined();
      await driver.apply(emptyNetworkPlan, signal());
      expect(await remains()).toEqual([]);
      await driver.close();
    });

    it('refuses what cannot be, with the reason and the next step', async () => {
      const { start } = await host();
      const driver = await start();
      const uplink = { interface: 'wirt-no-such0' };
      for (const more of [{}, { uplink }, { uplink: { ...uplink, vlan: 7 } }])
        expect(await driver.refuses({ ...testNetwork(1), kind: 'bridged', ...more })).toEqual({
          why: expect.stringMatching(/./),
          hint: expect.stringMatching(/./),
        });
      await driver.close();
    });

    it('survives subnets that are none, and makes the other network', async (context) => {
      const { start, capabilities, remains } = await host();
      if (!capabilities.interfaces) return context.skip('this driver gives no addresses');
      const driver = await start();
      const odd = [
        '0.0.0.0/0',
        '10.0.0.0/99',
        'x',
        '',
        '10.9.0.0/8',
        '::/0',
        'fe80::/10',
        '10.3.0.0/31',
        '1.2.3.4',
      ];
      for (const subnet of odd) {
        const family = subnet.includes(':') ? 'ipv6' : 'ipv4';
        const bad = testNetwork(2, {
          [family]: { subnet, gateway: family === 'ipv6' ? 'fd09::1' : '10.9.0.1' },
        });
        const plan = contractPlan({ networks: [network(), bad], ports: [port(1)] });
        await driver.apply(plan, signal()).catch((error: unknown) => {
          expect(error).toMatchObject({ code: 'network.failed', message: expect.stringContaining('two') });
          expect(error).toMatchObject({ details: { networks: [networkIds.two] } });
        });
        expect(driver.backend(port(1))).toBeDefined();
      }
      await driver.apply(emptyNetworkPlan, signal());
      expect(await remains()).toEqual([]);
      await driver.close();
    });

    it('says who listens on a port of the host', async () => {
      const { start, listen } = await host();
      const driver = await start();
      const { port: tcp } = await listen('tcp', '127.0.0.1');
      expect(await driver.listener('tcp', tcp)).toMatch(
        new RegExp(`^.+ listens on 127\\.0\\.0\\.1:${tcp} \\(tcp\\)\\.$`),
      );
      expect(await driver.listener('tcp', tcp, '127.0.0.1')).toBeDefined();
      expect(await driver.listener('tcp', tcp, '127.0.0.9')).toBeUndefined();
      expect(await driver.listener('tcp', tcp, undefined, ['127.0.0.1'])).toBeUndefined();
      expect(await driver.listener('tcp', tcp, undefined, ['127.0.0.9'])).toBeDefined();
      expect(await driver.listener('udp', tcp)).toBeUndefined();
      const { port: udp } = await listen('udp', '::');
      expect(await driver.listener('udp', udp, '192.0.2.1')).toContain(`[::]:${udp}`);
      await driver.close();
    });

    it('tells what it sees of each card, and nothing of other networks', async () => {
      const { start, capabilities } = await host();
      const driver = await start();
      const networks = capabilities.interfaces ? [network(1), network(2)] : [network(1)];
      await driver.apply(contractPlan({ networks, ports: [port(1), port(2)] }), signal());
      const seen = await driver.observe(networkIds.one, signal());
      expect(seen.ports.map(({ instance, nic }) => `${instance} ${nic}`).toSorted()).toEqual([
        `${idOf(1)} nic0`,
        `${idOf(2)} nic0`,
      ]);
      expect((await driver.observe(networkIds.two, signal())).ports).toEqual([]);
      await driver.apply(emptyNetworkPlan, signal());
      await driver.close();
    });

    it('names the interface of a network that has one', async () => {
      const { start, capabilities } = await host();
      const driver = await start();
      await driver.apply(contractPlan({ networks: [network()] }), signal());
      if (capabilities.interfaces) expect(driver.interfaceOf(networkIds.one)).toMatch(/^.{1,15}$/);
      else expect(driver.interfaceOf(networkIds.one)).toBeUndefined();
      expect(driver.interfaceOf(networkIds.two)).toBeUndefined();
      await driver.apply(emptyNetworkPlan, signal());
      expect(driver.interfaceOf(networkIds.one)).toBeUndefined();
      await driver.close();
    });

    it('says which addresses the host has, with its gateways', async () => {
      const { start, capabilities } = await host();
      const driver = await start();
      await driver.apply(contractPlan({ networks: [network()] }), signal());
      const found = (await driver.interfaces()).flatMap(({ addresses }) => addresses);
      if (capabilities.interfaces)
        expect(found).toEqual(expect.arrayContaining(['127.0.0.1', network().ipv4?.gateway]));
      else expect(found).toEqual([]);
      await driver.apply(emptyNetworkPlan, signal());
      await driver.close();
    });

    it('does not take its own networks for routes of the host', async () => {
      const { start } = await host();
      const driver = await start();
      const before = await driver.routes();
      await driver.apply(contractPlan({ networks: [network()] }), signal());
      expect(await driver.routes()).toEqual(before);
      await driver.apply(emptyNetworkPlan, signal());
      await driver.close();
    });

    it('mends what somebody else took away, within 5 seconds, and says so', async (context) => {
      const { start, harm } = await host();
      if (harm === undefined) return context.skip('nothing of this driver can be taken away');
      const driver = await start();
      const plan = contractPlan({ networks: [network()], ports: [port(1)] });
      await driver.apply(plan, signal());
      const repaired = Promise.withResolvers<Repaired>();
      const end = driver.onRepair(repaired.resolve);
      await harm(driver, networkIds.one);
      const deadline = setTimeout(() => repaired.reject(new Error('not mended within 5 s')), 5_000);
      expect((await repaired.promise).what).toMatch(/./);
      clearTimeout(deadline);
      end();
      await driver.apply(emptyNetworkPlan, signal());
      await driver.close();
    });

    it('sends a packet from the place of a guest, or says that it cannot', async () => {
      const { start, capabilities, remains } = await host();
      const driver = await start();
      await driver.apply(contractPlan({ networks: [network()] }), signal());
      const made = await remains();
      const probing = driver.probe(
        { network: networkIds.one, groups: [], from: '10.181.0.99', to: '10.181.0.1', protocol: 'icmp' },
        signal(),
      );
      // Without a group nothing goes out to other guests; the gateway answers all.
      if (capabilities.probes) expect(await probing).toMatchObject({ passes: true });
      else await expect(probing).rejects.toMatchObject({ code: 'network.unsupported' });
      expect(await remains()).toEqual(made);
      await driver.apply(emptyNetworkPlan, signal());
      await driver.close();
    });
  });
}
