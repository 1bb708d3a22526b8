// Equal pages are merged as long as guests run that allow it, by Wirt's own doing, and what others have set stays theirs.
import { describe, expect, it } from 'vitest';
import { createPlacedCore, type PlacedCore } from './placing.fixture.ts';

const density = { profile: 'density' } as const;
const key = 'host/page-merging';

async function createHost(value: number | undefined): Promise<PlacedCore> {
  const core = await createPlacedCore(1, 4);
  core.fake.host.topology.merging.value = value;
  return core;
}
const valueOf = ({ fake }: PlacedCore) => fake.host.topology.merging.value;

describe('merging of equal pages', () => {
  it('is on from the first guest that allows it to the last', async () => {
    const core = await createHost(0);
    await core.run('plain');
    expect(valueOf(core)).toBe(0);
    await core.run('a', density);
    await core.run('b', density);
    await core.stop('a');
    await core.pass();
    expect(valueOf(core)).toBe(1);
    await core.stop('b');
    await core.pass();
    expect(valueOf(core)).toBe(0);
    expect(await core.fake.store.get(key)).toBeUndefined();
    await core.start('a');
    expect(valueOf(core)).toBe(1);
  });

  it('is turned off by the next wirtd, when one has died', async () => {
    const core = await createHost(0);
    await core.run('a', density);
    await core.fake.restart();
    await core.pass();
    expect(valueOf(core)).toBe(1);
    await core.stop('a');
    await core.fake.restart();
    await core.pass();
    expect(valueOf(core)).toBe(0);
  });

  it.each([0, 1, 2])('that somebody else sets to %d meanwhile stays so, unless that is on', async (value) => {
    const core = await createHost(0);
    await core.run('a', density);
    core.fake.host.topology.merging.value = value;
    await core.stop('a');
    await core.pass();
    expect(valueOf(core)).toBe(value === 1 ? 0 : value);
  });

  it.each([1, 2, undefined])('that was %s before Wirt came stays so', async (value) => {
    const core = await createHost(value);
    await core.run('a', density);
    expect(valueOf(core)).toBe(value);
    await core.stop('a');
    await core.pass();
    expect(valueOf(core)).toBe(value);
  });

  it('that somebody has turned on since the host was started again is not turned off', async () => {
    const core = await createHost(0);
    await core.run('a', density);
    await core.stop('a');
    core.fake.host.bootId = 'another';
    await core.pass();
    expect(valueOf(core)).toBe(1);
    expect(await core.fake.store.get(key)).toBeUndefined();
  });

  it('goes by what a guest was started with, and not by what it is to be', async () => {
    const core = await createHost(0);
    await core.run('a', density);
    await core.fake.core.actions.instance.update(core.fake.request, 'a', { spec: { tuning: null } });
    await core.pass();
    expect(valueOf(core)).toBe(1);
    await core.fake.restart();
    await core.pass();
    expect(valueOf(core)).toBe(1);
    await core.stop('a');
    await core.pass();
    expect(valueOf(core)).toBe(0);
  });

  it('is no matter for a guest of huge pages, which the kernel does not merge', async () => {
    const core = await createHost(0);
    await core.run('a', { ...density, hugePages: '2M' });
    expect(valueOf(core)).toBe(0);
  });

  it('that the kernel refuses keeps no guest from its start', async () => {
    const core = await createHost(0);
    const { merging } = core.fake.host.topology;
    Object.assign(merging, { setRun: () => Promise.reject(new Error('EBUSY')) });
    await core.run('a', density);
    expect((await core.get('a')).status).toMatchObject({ state: 'running', run: { mergeable: true } });
  });
});
