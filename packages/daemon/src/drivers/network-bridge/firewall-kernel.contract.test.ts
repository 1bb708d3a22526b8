import type { NetworkPlan } from '@wirt/core';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createFirewall } from './firewall.ts';
import { createPlace, type LabPlace } from './firewall-lab.fixture.ts';
import { card, group, names, planOf, rule, silentLogger } from './firewall-plan.fixture.ts';
import { plans } from './firewall-plans.fixture.ts';
import { createScene, facts, lan, type Scene, signal, web } from './firewall-scene.fixture.ts';
import { createNft } from './nft.ts';
import { parseListing } from './nft-listing.ts';

// Namespaces and tables of the kernel can only be made by root.
describe.skipIf(process.geteuid?.() !== 0)('the firewall in the kernel', () => {
  let scene: Scene;
  let host: Scene['host'];
  let guests: Scene['guests'];
  let firewall: Scene['firewall'];
  let replaced: Scene['replaced'];
  let apply: Scene['apply'];

  beforeAll(async () => {
    scene = await createScene();
    ({ host, guests, firewall, replaced, apply } = scene);
  });
  afterAll(async () => {
    await scene[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    await scene.apply();
  });

  it('leaves the tables of others alone, and says what shadows ours', async () => {
    const docker =
      'table ip filter {\n\tchain DOCKER-USER {\n\t}\n\n\tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy drop;\n\t\tjump DOCKER-USER\n\t}\n}\n';
    await host.nft(docker);
    const nft = createNft([...host.enter, 'nft']);
    const listed = async (): Promise<string> =>
      await nft.run(['list', 'table', 'ip', 'filter'], 'list', signal());
    const before = await listed();
    try {
      firewall.forget();
      await apply();
      expect(await guests.a.knock('tcp', '192.0.2.2', 80)).toBeUndefined();
      const [shadow, ...more] = await firewall.shadows(signal());
      expect(more).toEqual([]);
      expect(shadow).toMatchObject({ table: 'ip filter' });
      expect(shadow?.hint).toContain('iptables -I DOCKER-USER -i wblan -j ACCEPT');
      expect(await listed()).toBe(before);
      for (const bridge of ['wblan', 'wbtwo', 'wbiso', 'wboff'])
        for (const match of ['iifname', 'oifname'])
          await host.nft(`insert rule ip filter DOCKER-USER ${match} ${bridge} accept\n`);
      expect(await firewall.shadows(signal())).toEqual([]);
      expect(await guests.a.ask('tcp', '192.0.2.2', 80)).toBe('192.0.2.1');
      await firewall.remove(signal());
      await firewall.remove(signal());
      expect(await nft.run(['list', 'tables'], 'list', signal())).toBe('table ip filter\n');
    } finally {
      await host.nft('delete table ip filter\n');
    }
  });

  it('notices what somebody else changes in its tables, and mends it when told to forget', async () => {
    const changes = [
      'flush ruleset',
      'delete table bridge wirt_test',
      'flush chain inet wirt_test input',
      'flush chain inet wirt_test closed; add rule inet wirt_test closed accept; add rule inet wirt_test closed drop',
      'delete element inet wirt_test lans { "wboff" }; add element inet wirt_test lans { "eth0" }',
      'insert rule inet wirt_test input accept',
      'flush set inet wirt_test bridges',
      'add element inet wirt_test bridges { "eth0" }',
      'delete element inet wirt_test ingress4 { "wblan" . 10.80.0.2 }',
      'add chain inet wirt_test strange',
    ];
    let generations = 0;
    for (const change of changes) {
      // The first look may come after the change.
      await host.nft(`${change}\n`);
      expect(await firewall.differs(signal()), change).toMatch(/wirt_test/);
      firewall.forget();
      await apply();
      expect(await firewall.differs(signal()), change).toBeUndefined();
      await apply({}, [web, group('DB', rule(`R${generations}`))]);
      generations += 1;
    }
    expect(await firewall.differs(signal())).toBeUndefined();
  });

  it('replaces all by itself when a change builds on what somebody has taken away', async () => {
    await host.nft('flush ruleset\n');
    await apply({}, [web, group('DB', rule('NEW'))]);
    expect(replaced.splice(0)).toEqual(['firewall.replaced']);
    expect(await firewall.differs(signal())).toBeUndefined();
    expect(await guests.a.ask('tcp', '10.80.0.4', 80)).toBe('10.80.0.2');
  });

  it('has in the kernel, after any steps, what the last plan alone gives', async () => {
    await using fresh = await createPlace();
    const list = async ({ enter }: LabPlace): Promise<unknown> => {
      const nft = createNft([...enter, 'nft']);
      const tables = ['inet', 'bridge'].map(
        async (family) => await nft.run(['-s', 'list', 'table', family, 'wirt_test'], 'list', signal()),
      );
      // nft lists chains, sets and elements of some sets in the order in which they were made.
      return (await Promise.all(tables)).map((text) => Object.fromEntries(parseListing(text)));
    };
    await fc.assert(
      fc.asyncProperty(fc.array(plans, { minLength: 2, maxLength: 4 }), async (steps) => {
        for (const step of steps) {
          await firewall.apply(step, facts, signal());
          expect(await firewall.differs(signal())).toBeUndefined();
        }
        const alone = createFirewall({
          ...{ tag: 'test', ...names, logger: silentLogger },
          command: [...fresh.enter, 'nft'],
        });
        await alone.apply(steps.at(-1) ?? planOf({}), facts, signal());
        expect(replaced).toEqual([]);
        expect(await list(host)).toEqual(await list(fresh));
      }),
      { numRuns: 12 },
    );
  });

  it('changes one rule among 1,000 cards', async () => {
    const many = Array.from({ length: 1000 }, (_, n) =>
      card(`n${n}`, 1000 + n, {
        ipv4: `10.90.${n >> 8}.${n & 255}`,
        ipv6: `fd90::${(n + 1).toString(16)}`,
        groups: ['WEB'],
      }),
    );
    const big = (port: number): NetworkPlan =>
      planOf({
        generation: port,
        networks: [lan],
        ports: many,
        groups: [group('WEB', ...web.rules, rule('ONE', { protocol: 'tcp', fromPort: port, toPort: port }))],
      });
    const took: number[] = [];
    for (let port = 1; port <= 12; port += 1) {
      const start = performance.now();
      await firewall.apply(big(port), facts, signal());
      took.push(performance.now() - start);
    }
    const [first = 0, ...rest] = took.map(Math.round);
    process.stdout.write(
      `1,000 cards: first apply ${first} ms, one rule ${rest.sort((x, y) => x - y).join(' ')} ms\n`,
    );
    const started = performance.now();
    expect(await firewall.differs(signal())).toBeUndefined();
    const looked = performance.now();
    expect(await firewall.differs(signal())).toBeUndefined();
    const again = performance.now();
    process.stdout.write(
      `first look ${Math.round(looked - started)} ms, next ${Math.round(again - looked)} ms\n`,
    );
    await host.nft(
      'delete element inet wirt_test ingress4 { "wblan" . 10.90.3.7 }; add element inet wirt_test ingress4 { "wblan" . 10.99.9.9 : accept }\n',
    );
    expect(await firewall.differs(signal())).toMatch(/elements of map ingress4/);
  });
});
