// What the host is told: once for all who ask at the same time, again when it has failed, and what it mends itself.
import { WirtError } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { createNetworkScene, type NetworkScene } from './network.fixture.ts';

/** Resolves when an event of the network has been told that satisfies `test`. */
async function told({ fake }: NetworkScene, test: (event: { state?: string; detail?: string }) => boolean) {
  const signal = AbortSignal.timeout(5_000);
  for await (const event of fake.core.actions.event.stream(
    { ...fake.request, signal },
    { since: 0, kind: 'network' },
  ))
    if (test(event as { state?: string; detail?: string })) return event;
  throw new Error('it was not told');
}

describe('changes that come at the same time', () => {
  it('are brought into force together, by the turn that begins after them', async () => {
    const scene = await createNetworkScene();
    const { network } = scene.fake.host;
    await scene.group('web');
    await scene.guest('a', [{ securityGroups: ['web'] }]);
    const gate = Promise.withResolvers<void>();
    network.pause = () => gate.promise;
    network.turns = 0;
    const changes = Array.from({ length: 50 }, (_, number) => scene.rule('web', { fromPort: 1000 + number }));
    let isDone = false;
    const all = Promise.all(changes).then(() => {
      isDone = true;
    });
    const { securityGroup } = scene.fake.core.actions;
    while ((await securityGroup.get('web')).spec.rules.length < 51) await Promise.resolve();
    expect(isDone).toBe(false);
    gate.resolve();
    await all;
    expect(network.turns).toBe(2);
    expect(network.plan.groups.find(({ name }) => name === 'web')?.rules).toHaveLength(51);
  });

  it('are in force when each is answered', async () => {
    const scene = await createNetworkScene();
    await scene.group('web');
    const rulesThen = await Promise.all(
      Array.from({ length: 30 }, async (_, number) => {
        await scene.rule('web', { fromPort: 1000 + number });
        const rules = scene.fake.host.network.plan.groups.find(({ name }) => name === 'web')?.rules;
        return rules?.some(({ fromPort }) => fromPort === 1000 + number);
      }),
    );
    expect(rulesThen.every(Boolean)).toBe(true);
  });
});

describe('a guest that starts', () => {
  it('has its process before its cards are filtered, and runs when they are', async () => {
    const scene = await createNetworkScene();
    const { host, core } = scene.fake;
    const filtered = Promise.withResolvers<void>();
    host.network.filter = () => filtered.promise;
    const started = scene.guest('web');
    const processors = () => [...host.processes.values()].map((process) => process.processors);
    while (processors().length === 0) await new Promise(setImmediate);
    // What could let it run by mistake has had its turn.
    await new Promise(setImmediate);
    expect(processors()).toEqual(['paused']);
    expect((await core.actions.instance.get('web')).status.state).toBe('starting');
    filtered.resolve();
    await started;
    expect(processors()).toEqual(['running']);
  });

  it('does not run unfiltered when the daemon has died in between, and the next one cannot filter either', async () => {
    const scene = await createNetworkScene();
    const { fake } = scene;
    await scene.guest('web', [{}], false);
    fake.fault = { step: 'instance.start/resume', kind: 'die' };
    scene.start('web').catch(() => undefined);
    await fake.died();
    fake.fault = undefined;
    const whileUnfiltered = new Set<string>();
    fake.host.network.filter = () => {
      for (const { processors } of fake.host.processes.values()) whileUnfiltered.add(processors);
      return Promise.reject(new WirtError('network.failed', 'nft could not change the tables.'));
    };
    await fake.restart();
    const state = async () => (await fake.core.actions.instance.get('web')).status.state;
    while ((await state()) === 'starting') await new Promise(setImmediate);
    expect([...whileUnfiltered]).toEqual(['paused']);
    expect(fake.host.processes.size).toBe(0);
  });

  it('is gone again when they cannot be filtered', async () => {
    const scene = await createNetworkScene();
    scene.fake.host.network.filter = () =>
      Promise.reject(new WirtError('network.failed', 'nft could not change the tables.'));
    await expect(scene.guest('web')).rejects.toMatchObject({ code: 'network.failed' });
    expect(scene.fake.host.processes.size).toBe(0);
    scene.fake.host.network.filter = () => Promise.resolve();
    await scene.start('web');
    expect(await scene.faults()).toEqual([]);
  });
});

describe('a network that cannot be made', () => {
  it('is shown as failed with the reason, keeps its guests from starting and no others, and is tried again', async () => {
    const scene = await createNetworkScene();
    const { fake } = scene;
    const { network } = fake.host;
    const lab = await scene.network('lab');
    await scene.guest('other', [{ network: 'lab' }], false);
    network.broken.add(lab.id);
    await expect(scene.start('other')).rejects.toMatchObject({ code: 'network.failed' });
    await told(
      scene,
      ({ state, detail }) => state === 'failed' && detail?.includes('No such device') === true,
    );
    await scene.guest('web');
    expect((await fake.core.actions.instance.get('web')).status.state).toBe('running');
    network.broken.clear();
    fake.clock.advance(5_000);
    await told(scene, ({ state, detail }) => state === 'ready' && detail === undefined);
    await scene.start('other');
    expect(await scene.faults()).toEqual([]);
  });

  it('does not keep a guest from being stopped', async () => {
    const scene = await createNetworkScene();
    await scene.guest('web');
    scene.fake.host.network.broken.add('all');
    await scene.stop('web');
    expect((await scene.fake.core.actions.instance.get('web')).status.state).toBe('stopped');
    scene.fake.host.network.broken.clear();
    await scene.fake.restart();
    expect(scene.fake.host.remains()).toEqual([]);
  });

  it('leaves nothing of a guest that could not be started on it', async () => {
    const scene = await createNetworkScene();
    const { id } = await scene.network('lab');
    scene.fake.host.network.broken.add(id);
    await expect(scene.guest('web', [{ network: 'lab' }])).rejects.toMatchObject({ code: 'network.failed' });
    scene.fake.host.network.broken.clear();
    await scene.fake.restart();
    expect(scene.fake.host.remains()).toEqual([]);
    expect((await scene.fake.core.actions.instance.get('web')).status.exit?.message).toContain(
      'No such device',
    );
  });
});

describe('what somebody else has changed', () => {
  it('is told in the events and shown at the network when it has been mended', async () => {
    const scene = await createNetworkScene();
    const { fake } = scene;
    const { id } = await scene.network('lab');
    await scene.network('other');
    fake.host.network.repair({ network: id, what: 'Bridge wbfake was gone.' });
    await told(scene, ({ detail }) => detail === 'Bridge wbfake was gone.');
    expect((await fake.core.actions.network.get('lab')).status.repair?.what).toBe('Bridge wbfake was gone.');
    expect((await fake.core.actions.network.get('other')).status.repair).toBeUndefined();
  });
});

describe('the generation of the plan', () => {
  it('changes when something is taken away, also over restarts, and not when something is added', async () => {
    const scene = await createNetworkScene();
    const { fake } = scene;
    const generation = () => fake.host.network.plan.generation;
    await scene.group('web');
    await scene.guest('a', [{ securityGroups: ['web'] }]);
    const first = generation();
    const { spec } = await scene.rule('web', { fromPort: 80 });
    await scene.attach('a');
    expect(generation()).toBe(first);
    const seen = new Set([first]);
    const changed = () => {
      expect(seen.has(generation())).toBe(false);
      seen.add(generation());
    };
    await fake.core.actions.securityGroup.removeRule(fake.request, 'web', spec.rules[0]?.id ?? '');
    changed();
    await fake.restart();
    await scene.update('a', 'nic0', { securityGroups: [] });
    changed();
    await scene.detach('a', 'nic1');
    changed();
    const before = generation();
    await scene.update('a', 'nic0', { securityGroups: ['web'] });
    expect(generation()).toBe(before);
    await scene.remove('a');
    await scene.guest('b');
    changed();
  });
});

describe('a new daemon', () => {
  it('tells the host of the guests that run before it takes them up, and of nobody else', async () => {
    const scene = await createNetworkScene();
    const { fake } = scene;
    await scene.guest('a');
    await scene.guest('b');
    await scene.guest('c', [{}], false);
    const { target } = await scene.guest('d');
    fake.host.end(target.id, {});
    const turns = fake.host.network.turns;
    const owners = fake.host.network.plan.ports.map(({ owner }) => owner.uid).slice(0, 2);
    await fake.restart();
    expect(fake.host.network.turns).toBeGreaterThan(turns);
    expect(scene.ports()).toEqual(['a/nic0', 'b/nic0']);
    expect(fake.host.network.plan.ports.map(({ owner }) => owner.uid)).toEqual(owners);
    expect(await scene.faults()).toEqual([]);
  });

  it('serves although the host’s network cannot be made', async () => {
    const scene = await createNetworkScene();
    await scene.guest('a');
    scene.fake.host.network.broken.add('all');
    await scene.fake.restart();
    expect((await scene.fake.core.actions.instance.get('a')).status.state).toBe('running');
  });
});

describe('a daemon that stops', () => {
  const stop = ({ fake }: NetworkScene) => fake.core.stop(AbortSignal.timeout(5_000));

  it('leaves the networks of guests that go on', async () => {
    const scene = await createNetworkScene();
    await scene.guest('a');
    await stop(scene);
    expect(scene.ports()).toEqual(['a/nic0']);
  });

  it('leaves nothing on the host when no guest runs', async () => {
    const scene = await createNetworkScene();
    await scene.network('lab');
    await scene.guest('a', [{ network: 'lab' }], false);
    expect(scene.fake.host.network.plan.networks).not.toEqual([]);
    await stop(scene);
    expect(scene.fake.host.network.plan.networks).toEqual([]);
  });
});
