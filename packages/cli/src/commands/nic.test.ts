import { describe, expect, it } from 'vitest';
import { anInstance, problem, runWirt, type Script, startScriptedDaemon } from '../scripted-daemon.ts';
import { done } from '../scripted-records.ts';

const nic0: object = anInstance.spec.nics[0] ?? {};
const nic1 = {
  ...nic0,
  ...{ name: 'nic1', slot: 1, network: 'back', ipv4: '10.80.1.10', ipv6: 'fd13::10' },
  publish: [
    { protocol: 'tcp', hostPort: 8080, guestPort: 80 },
    { protocol: 'udp', hostAddress: '192.0.2.1', hostPort: 53, guestPort: 53 },
  ],
};
const demoTarget = { kind: 'instance', id: anInstance.id, name: 'demo' };

function instanceWith(...nics: readonly object[]) {
  return { ...anInstance, spec: { ...anInstance.spec, nics } };
}

async function ran(argv: readonly string[], instance: object, more: Readonly<Record<string, Script>> = {}) {
  const changed: Script = () => ({ status: 202, json: done('instance.start', demoTarget) });
  const one = `/v1/instances/${anInstance.id}`;
  await using daemon = await startScriptedDaemon({
    'GET /v1/instances/demo': () => ({ json: instance }),
    [`GET ${one}`]: () => ({ json: instance }),
    'POST /v1/instances/demo/nics': changed,
    [`PATCH ${one}/nics/nic0`]: changed,
    [`PATCH ${one}/nics/nic1`]: changed,
    [`DELETE ${one}/nics/nic0`]: changed,
    [`DELETE ${one}/nics/nic1`]: changed,
    ...more,
  });
  const result = await runWirt(['network', ...argv], { daemon });
  const asked = daemon.asked.filter(({ method }) => method !== 'GET');
  return {
    ...result,
    asked,
    json: asked[0]?.json,
    lines: asked.map(({ method, path }) => `${method} ${path}`),
  };
}

describe('wirt network attach', () => {
  it('leaves to the contract what was not said, and tells the card and its addresses', async () => {
    const { json, stdout, asked } = await ran(['attach', 'demo', 'back'], instanceWith(nic0, nic1));
    expect(json).toEqual({ network: 'back' });
    expect(stdout).toBe('demo is on back by nic1 at 10.80.1.10, fd13::10\n');
    expect(asked[0]?.headers['idempotency-key']).toBeDefined();
  });

  it('passes on everything that was said', async () => {
    const { json, stdout } = await ran(
      [
        ...['attach', 'demo', 'back', '--name', 'nic0', '--ip', '10.80.1.9', '--ip', 'fd13::9', '-g', 'none'],
        ...['-p', '8080:80', '--floating', '192.0.2.80', '--mac', '02:00:00:00:00:09', '--model', 'e1000'],
        ...['--queues', '2', '--boot', '3', '--no-anti-spoofing'],
      ],
      instanceWith(nic0),
    );
    expect(json).toEqual({
      ...{ network: 'back', name: 'nic0', ipv4: '10.80.1.9', ipv6: 'fd13::9', securityGroups: [] },
      publish: [{ protocol: 'tcp', hostPort: 8080, guestPort: 80 }],
      ...{ floating: '192.0.2.80', mac: '02:00:00:00:00:09', model: 'e1000', queues: 2, bootOrder: 3 },
      antiSpoofing: false,
    });
    expect(stdout).toBe('demo is on back by nic0 at what the network gives it\n');
  });
});

describe('a card of an instance', () => {
  it('need not be named where there is only one', async () => {
    const { lines, stdout } = await ran(['detach', 'demo'], instanceWith(nic0));
    expect(lines).toEqual([`DELETE /v1/instances/${anInstance.id}/nics/nic0`]);
    expect(stdout).toBe('nic0 of demo is off default\n');
    const two = await ran(['detach', 'demo', 'nic1'], instanceWith(nic0, nic1));
    expect(two.lines).toEqual([`DELETE /v1/instances/${anInstance.id}/nics/nic1`]);
  });

  it.each([
    ['demo', [nic0, nic1], 2, 'Name one: demo/nic0, demo/nic1.'],
    ['demo/nic7', [nic0], 3, 'Instance demo has no network card nic7.\n  hint: It has demo/nic0.'],
    ['demo', [], 3, 'hint: Attach one: `wirt network attach demo NETWORK`.'],
    ['demo/', [nic0], 2, 'A card is named INSTANCE/NIC, and not "demo/".'],
    ['demo/a/b', [nic0], 2, 'A card is named INSTANCE/NIC, and not "demo/a/b".'],
  ])('%s of %j is asked for again', async (card, nics, status, reason) => {
    const { code, stderr, lines } = await ran(['detach', card], instanceWith(...nics));
    expect([code, lines]).toEqual([status, []]);
    expect(stderr).toContain(reason);
  });
});

describe('wirt network publish and unpublish', () => {
  it('publish adds to what there is, once, and only if nothing has changed meanwhile', async () => {
    const argv = ['publish', 'demo/nic1', '8080:80', '[::1]:2222:22'];
    const { json, asked, stdout } = await ran(argv, instanceWith(nic0, nic1));
    expect(json).toEqual({
      publish: [...nic1.publish, { protocol: 'tcp', hostAddress: '::1', hostPort: 2222, guestPort: 22 }],
    });
    expect(asked[0]?.headers['if-match']).toBe('"7"');
    expect(stdout).toBe('demo is reached by 8080:80/tcp, [::1]:2222:22/tcp of the host\n');
  });

  it('publish looks again when somebody else has changed the instance meanwhile', async () => {
    let refused = 0;
    const { code, lines } = await ran(['publish', 'demo', '8080:80'], instanceWith(nic0), {
      [`PATCH /v1/instances/${anInstance.id}/nics/nic0`]: () =>
        ++refused === 1
          ? problem(412, 'request.revision_mismatch', 'It has changed.')
          : { status: 202, json: done('instance.start', demoTarget) },
    });
    expect([code, lines.length]).toEqual([0, 2]);
  });

  it('publish does not lead elsewhere a port that leads somewhere', async () => {
    const { code, stderr, lines } = await ran(['publish', 'demo', '8080:81'], instanceWith(nic1));
    expect([code, lines]).toEqual([4, []]);
    expect(stderr).toContain('8080:80/tcp is published already.');
  });

  it('unpublish takes back by the port of the host, or all', async () => {
    const one = await ran(['unpublish', 'demo', '53/udp'], instanceWith(nic1));
    expect(one.json).toEqual({ publish: [nic1.publish[0]] });
    const all = await ran(['unpublish', 'demo', '--all'], instanceWith(nic1));
    expect(all.json).toEqual({ publish: [] });
  });

  it('unpublish says what is published when it was something else', async () => {
    const { code, stderr } = await ran(['unpublish', 'demo', '53'], instanceWith(nic1));
    expect(code).toBe(2);
    expect(stderr).toContain('demo/nic1 has not published 53.');
    expect(stderr).toContain('It has 8080:80/tcp, 192.0.2.1:53:53/udp.');
  });
});

describe('wirt network float and groups', () => {
  it('float gives an address, and takes it back', async () => {
    const given = await ran(['float', 'demo', '192.0.2.80'], instanceWith(nic0));
    expect([given.json, given.stdout]).toEqual([
      { floating: '192.0.2.80' },
      '192.0.2.80 stands for demo/nic0\n',
    ]);
    const back = await ran(['float', 'demo', '--none'], instanceWith(nic0));
    expect([back.json, back.stdout]).toEqual([{ floating: null }, 'demo/nic0 has no floating address now\n']);
  });

  it('groups replaces them', async () => {
    expect((await ran(['groups', 'demo', 'default', 'web'], instanceWith(nic0))).json).toEqual({
      securityGroups: ['default', 'web'],
    });
    expect((await ran(['groups', 'demo', '--none'], instanceWith(nic0))).json).toEqual({
      securityGroups: [],
    });
  });

  it.each([
    ['float', 'wirt network float takes an address, or --none.'],
    ['groups', 'wirt network groups takes security groups, or --none.'],
    ['unpublish', 'wirt network unpublish takes ports of the host, or --all.'],
  ])('%s wants one or the other', async (verb, reason) => {
    const { code, stderr } = await ran([verb, 'demo'], instanceWith(nic0));
    expect(code).toBe(2);
    expect(stderr).toContain(reason);
  });
});
