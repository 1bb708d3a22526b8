// What every NetworkDriver must say and do about rates of cards, run against the real host. Whether they hold is measured with real packets by the drivers that
// can keep any.
import type { NicLimits } from '@wirt/api';
import { afterEach, describe, expect, it } from 'vitest';
import { emptyNetworkPlan, type NetworkPlan, type PlannedPort } from '../domain/network-plan.ts';
import {
  contractPlan,
  type NetworkUnderTest,
  networkIds,
  testNetwork,
  testSubnets,
} from './network.contract.ts';
import type { NetworkDriver } from './network.ts';

const instances = ['01K00000000000000000002001', '01K00000000000000000002002'] as const;
const rates: NicLimits = {
  ingress: { bytesPerSecond: 1_250_000, packetsPerSecond: 2_000 },
  egress: { bytesPerSecond: 3_000_000, burstBytes: 200_000 },
};

export function networkLimitsContract(name: string, make: () => Promise<NetworkUnderTest>): void {
  describe(`${name} as NetworkDriver with rates`, () => {
    let under: NetworkUnderTest | undefined;
    const signal = (): AbortSignal => AbortSignal.timeout(50_000);
    afterEach(async () => {
      await under?.cleanUp();
      under = undefined;
    });

    async function host(): Promise<NetworkUnderTest> {
      under = await make();
      return under;
    }
    /** A plan with two cards of these rates. */
    function plan(...limits: readonly (NicLimits | undefined)[]): NetworkPlan {
      const hasInterfaces = under?.capabilities.interfaces ?? false;
      const ports = instances.map(
        (instance, at): PlannedPort => ({
          instance,
          nic: 'nic0',
          network: networkIds.one,
          hostname: `guest${at}`,
          mac: `02:00:00:00:20:0${at}`,
          ...(hasInterfaces ? { ipv4: `10.181.20.${at + 1}` } : {}),
          groups: [],
          publish: [],
          antiSpoofing: true,
          queues: 1,
          mtu: 1500,
          owner: under?.owner ?? { uid: 0, gid: 0 },
          ...(limits[at] === undefined ? {} : { limits: limits[at] }),
        }),
      );
      return contractPlan({ networks: [testNetwork(1, hasInterfaces ? testSubnets(1) : {})], ports });
    }
    /** As the driver reads them back, of the first card and of the second. */
    async function found(driver: NetworkDriver): Promise<NicLimits[]> {
      const all = await driver.limits(signal());
      expect([...all.keys()].toSorted()).toEqual(instances.map((instance) => `${instance}/nic0`));
      return instances.map((instance) => all.get(`${instance}/nic0`) ?? {});
    }

    it('says whether it keeps rates, and what to do where it does not', async () => {
      const { start, capabilities } = await host();
      const driver = await start();
      if (capabilities.rates) expect(driver.refusesLimits()).toBeUndefined();
      else
        expect(driver.refusesLimits()).toEqual({
          why: expect.stringMatching(/./),
          hint: expect.stringMatching(/./),
        });
      await driver.close();
    });

    it('reads back what is in force: as it was set, as it was changed, and nothing once it was removed', async () => {
      const { start, capabilities, remains } = await host();
      const driver = await start();
      const inForce = (...limits: NicLimits[]): unknown =>
        capabilities.rates ? limits.map((each) => expectation(each)) : [{}, {}];
      await driver.apply(plan(), signal());
      expect(await found(driver)).toEqual([{}, {}]);
      const bare = await remains();
      await driver.apply(plan(rates), signal());
      expect(await found(driver)).toEqual(inForce(rates, {}));
      const swapped: NicLimits = { egress: { bytesPerSecond: 900_000, packetsPerSecond: 77 } };
      await driver.apply(plan({ ...rates, egress: { bytesPerSecond: 64_000 } }, swapped), signal());
      expect(await found(driver)).toEqual(inForce({ ...rates, egress: { bytesPerSecond: 64_000 } }, swapped));
      // Nought is no limit, and not a standstill.
      await driver.apply(plan({ ingress: { bytesPerSecond: 0, packetsPerSecond: 0 } }, {}), signal());
      expect(await found(driver)).toEqual([{}, {}]);
      expect(await remains()).toEqual(bare);
      await driver.apply(emptyNetworkPlan, signal());
      expect((await driver.limits(signal())).size).toBe(0);
      expect(await remains()).toEqual([]);
      await driver.close();
    });

    it('has them as planned after it died, whatever was planned before', async () => {
      const { start, kill, capabilities } = await host();
      const first = await start();
      await first.apply(plan(rates, rates), signal());
      await kill(first);
      const next = await start();
      await next.apply(plan(rates), signal());
      expect(await found(next)).toEqual(capabilities.rates ? [expectation(rates), {}] : [{}, {}]);
      await next.apply(emptyNetworkPlan, signal());
      await next.close();
    });

    it('counts for every card, and at once', async () => {
      const { start, capabilities } = await host();
      const driver = await start();
      await driver.apply(plan(rates), signal());
      const counters = driver.counters();
      if (!capabilities.rates) expect(counters.size).toBe(0);
      for (const [key, each] of counters) {
        expect(instances.map((instance) => `${instance}/nic0`)).toContain(key);
        expect(Object.values(each).every((count) => Number.isInteger(count) && count >= 0)).toBe(true);
      }
      await driver.apply(emptyNetworkPlan, signal());
      await driver.close();
    });
  });
}

/** A burst that nobody asked for is the driver's own. */
function expectation(limits: NicLimits): unknown {
  return Object.fromEntries(
    Object.entries(limits).map(([way, each = {}]) => [
      way,
      each.bytesPerSecond !== undefined && each.burstBytes === undefined
        ? { ...each, burstBytes: expect.any(Number) }
        : each,
    ]),
  );
}
