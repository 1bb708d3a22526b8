// Policies: limits that instances share, changed for all of them at once.
import { describe, expect, it } from 'vitest';
import { createFakeCore } from '../fakes/fake-core.ts';

async function gold() {
  const fake = await createFakeCore();
  const { policy, instance } = fake.core.actions;
  const head = { project: 'default', labels: {}, description: '' };
  await policy.create(fake.request, { ...head, name: 'gold', limits: { cpu: { cores: 2 } } });
  const run = async (name: string, limits = {}) => {
    const { target } = await fake.create({ name, start: true, spec: { policy: 'gold', limits } });
    return () => fake.host.groupLimits.get(target.id);
  };
  return { fake, policy, instance, run, head };
}

describe('a policy', () => {
  it('holds the instances that have it, and what one says itself wins', async () => {
    const { run, policy } = await gold();
    const [web, db] = [await run('web'), await run('db', { cpu: { cores: 1 } })];
    expect([web(), db()]).toEqual([{ cores: 2 }, { cores: 1 }]);
    expect((await policy.get('gold')).status.instances).toEqual(['web', 'db']);
  });

  it('that is changed is in force on its instances when it is answered', async () => {
    const { fake, run, policy, instance } = await gold();
    const [web, db] = [await run('web'), await run('db', { cpu: { cores: 1 } })];
    await policy.update(fake.request, 'gold', { limits: { cpu: { cores: 3, weight: 50 } } });
    expect([web(), db()]).toEqual([
      { cores: 3, weight: 50 },
      { cores: 1, weight: 50 },
    ]);
    expect((await instance.get('web')).status.limits?.effective.cpu).toEqual({ cores: 3, weight: 50 });
    await instance.update(fake.request, 'web', { spec: { policy: null } });
    expect(web()).toEqual({});
  });

  it('that one of its instances could not keep is refused, and changes none', async () => {
    const { fake, run, policy } = await gold();
    const web = await run('web');
    await expect(
      policy.update(fake.request, 'gold', { limits: { cpu: { cores: 3 }, memory: { ceilingMib: 70 } } }),
    ).rejects.toMatchObject({ code: 'limit.below_floor', message: expect.stringContaining('web') });
    expect(web()).toEqual({ cores: 2 });
    expect((await policy.get('gold')).spec.limits).toEqual({ cpu: { cores: 2 } });
  });

  it('that nobody could keep is not made', async () => {
    const { fake, policy, head } = await gold();
    const make = (limits: object) => policy.create(fake.request, { ...head, name: 'odd', limits });
    await expect(make({ cpu: { cores: 0.001 } })).rejects.toMatchObject({ code: 'limit.below_floor' });
    await expect(
      make({ disk: { totalBytes: { rate: 1e6 }, readBytes: { rate: 1e6 } } }),
    ).rejects.toMatchObject({ code: 'limit.invalid' });
    await expect(policy.get('odd')).rejects.toMatchObject({ code: 'policy.not_found' });
  });

  it('cannot go while an instance has it, and says which', async () => {
    const { fake, run, policy, instance } = await gold();
    await run('web');
    await expect(policy.remove(fake.request, 'gold')).rejects.toMatchObject({
      code: 'policy.in_use',
      message: 'Policy gold is had by web.',
    });
    await instance.update(fake.request, 'web', { spec: { policy: null } });
    await policy.remove(fake.request, 'gold');
    await expect(policy.get('gold')).rejects.toMatchObject({ code: 'policy.not_found' });
  });

  it('that does not exist is nobody’s', async () => {
    const { fake, instance } = await gold();
    await expect(fake.create({ spec: { policy: 'silver' } })).rejects.toMatchObject({
      code: 'policy.not_found',
    });
    await fake.create({ name: 'web' });
    await expect(instance.update(fake.request, 'web', { spec: { policy: 'silver' } })).rejects.toMatchObject({
      code: 'policy.not_found',
    });
  });
});
