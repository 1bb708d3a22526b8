// Security groups: their rules, what they name, who has them, and that changes reach the host.
import { describe, expect, it } from 'vitest';
import { createNetworkScene, type NetworkScene } from './network.fixture.ts';

const rulesOf = ({ fake }: NetworkScene, name: string) =>
  fake.host.network.plan.groups.find((group) => group.name === name)?.rules ?? [];

describe('a security group', () => {
  it('lets everything out and nothing in where nothing is said, and nothing at all where no rules are given', async () => {
    const scene = await createNetworkScene();
    expect((await scene.group('web')).spec.rules).toMatchObject([{ direction: 'egress', protocol: 'any' }]);
    expect((await scene.group('closed', [])).spec.rules).toEqual([]);
  });

  it('has each rule once, and in force when it is answered', async () => {
    const scene = await createNetworkScene();
    await scene.group('web');
    await scene.guest('a', [{ securityGroups: ['web'] }]);
    const one = await scene.rule('web', { fromPort: 80, description: 'HTTP' });
    const again = await scene.rule('web', { fromPort: 80, toPort: 80 });
    expect(again.spec.rules).toEqual(one.spec.rules);
    expect(again.revision).toBe(one.revision);
    expect(rulesOf(scene, 'web')).toHaveLength(2);
  });

  it('may name itself and others that there are, and tells the host their ids', async () => {
    const scene = await createNetworkScene();
    const web = await scene.group('web', [{ group: 'web', fromPort: 80 }]);
    await scene.group('db', [{ group: 'web', fromPort: 5432 }]);
    await scene.rule('db', { group: 'web', fromPort: 5433 });
    expect(rulesOf(scene, 'db')).toMatchObject([{ groupId: web.id }, { groupId: web.id }]);
    await expect(scene.group('bad', [{ group: 'nobody' }])).rejects.toMatchObject({
      code: 'group.not_found',
    });
    await expect(scene.rule('db', { group: 'nobody' })).rejects.toMatchObject({ code: 'group.not_found' });
  });

  it('cannot go while a card has it or a rule names it, and says which', async () => {
    const scene = await createNetworkScene();
    const { securityGroup } = scene.fake.core.actions;
    const remove = (name: string) => securityGroup.remove(scene.fake.request, name);
    await scene.group('web');
    await scene.group('db', [{ group: 'web' }]);
    await scene.guest('a', [{ securityGroups: ['db'] }], false);
    await expect(remove('db')).rejects.toMatchObject({
      code: 'group.in_use',
      message: 'Security group db guards cards of a.',
    });
    await expect(remove('web')).rejects.toMatchObject({
      code: 'group.in_use',
      message: 'Security group web is named by rules of db.',
    });
    await scene.update('a', 'nic0', { securityGroups: [] });
    await remove('db');
    await remove('web');
    await expect(securityGroup.get('web')).rejects.toMatchObject({ code: 'group.not_found' });
    expect(scene.fake.host.network.plan.groups).toEqual([]);
  });

  it('is changed only as it was read, when that is asked', async () => {
    const scene = await createNetworkScene();
    const { securityGroup } = scene.fake.core.actions;
    const { revision } = await scene.group('web');
    await scene.rule('web', { fromPort: 80 });
    const stale = { ...scene.fake.request, ifRevision: revision };
    await expect(securityGroup.update(stale, 'web', { rules: [] })).rejects.toMatchObject({
      code: 'request.revision_mismatch',
    });
    expect((await securityGroup.get('web')).spec.rules).toHaveLength(2);
  });

  it('loses no rule to one that is added at the same moment', async () => {
    const scene = await createNetworkScene();
    await scene.group('web', []);
    await Promise.all(Array.from({ length: 40 }, (_, number) => scene.rule('web', { fromPort: 1 + number })));
    expect((await scene.fake.core.actions.securityGroup.get('web')).spec.rules).toHaveLength(40);
  });

  it('refuses a rule that it does not have, a name that is taken, and more rules than it can have', async () => {
    const scene = await createNetworkScene();
    const { securityGroup } = scene.fake.core.actions;
    await scene.group(
      'web',
      Array.from({ length: 1000 }, (_, number) => ({ fromPort: 1 + number })),
    );
    await expect(
      securityGroup.removeRule(scene.fake.request, 'web', '01JD0000000000000000000000'),
    ).rejects.toMatchObject({ code: 'group.rule_not_found' });
    await expect(scene.group('web')).rejects.toMatchObject({ code: 'group.name_taken' });
    await expect(scene.rule('web', { fromPort: 5000 })).rejects.toMatchObject({ code: 'request.invalid' });
  });

  it('is in the records although the host could not follow, and the host does when it can', async () => {
    const scene = await createNetworkScene();
    await scene.group('web');
    await scene.guest('a', [{ securityGroups: ['web'] }]);
    scene.fake.host.network.broken.add('all');
    await expect(scene.rule('web', { fromPort: 80 })).rejects.toMatchObject({ code: 'network.failed' });
    scene.fake.host.network.broken.clear();
    await scene.rule('web', { fromPort: 80 });
    expect(rulesOf(scene, 'web')).toHaveLength(2);
  });

  it.each(['security-group.update/record', 'security-group.update/apply'])(
    'is the same on the host as in the records when the daemon dies at %s',
    async (step) => {
      const scene = await createNetworkScene();
      const { fake } = scene;
      await scene.group('web', [{ fromPort: 80 }]);
      fake.fault = { step, kind: 'die' };
      const update = fake.core.actions.securityGroup.update(fake.request, 'web', { rules: [] });
      await Promise.race([update, fake.died()]);
      await fake.restart();
      expect(rulesOf(scene, 'web')).toHaveLength(
        (await fake.core.actions.securityGroup.get('web')).spec.rules.length,
      );
    },
  );
});
