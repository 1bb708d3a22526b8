// A running guest keeps the tuning that it was started with, whatever is asked for meanwhile; its next start has the new one.
import type { Tuning } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { createPlacedCore, turns } from './placing.fixture.ts';

const density = { profile: 'density' } as const;
/** All that is watched is looked at within. */
const minuteMs = 60_000;
const passMs = 5_000;

async function running(started?: Tuning) {
  const core = await createPlacedCore(1, 4);
  await core.run('web', started, { cpus: 2 });
  const { id } = await core.get('web');
  // Another after each start of wirtd.
  const actions = () => core.fake.core.actions.instance;
  return {
    core,
    change: (tuning: Tuning | null) => actions().update(core.fake.request, 'web', { spec: { tuning } }),
    group: () => core.fake.host.groupLimits.get(id) ?? {},
    watched: async () => {
      for (let ms = 0; ms <= minuteMs; ms += passMs) {
        core.fake.clock.advance(passMs);
        await turns();
      }
    },
  };
}

describe('a profile that is changed while the guest runs', () => {
  it('changes nothing of it, and is in force from its next start', async () => {
    const { core, change, group, watched } = await running();
    await change(density);
    await watched();
    expect(group()).toEqual({});
    expect((await core.get('web')).status).toMatchObject({ state: 'running', run: { tuning: {} } });
    expect((await core.get('web')).status.limits).toBeUndefined();
    await core.stop('web');
    await core.start('web');
    expect(group()).toEqual({ weight: 200 });
    expect((await core.get('web')).status.run).toMatchObject({ mergeable: true, tuning: density });
  });

  it('takes no share from it that it was started with, also when wirtd is started again', async () => {
    const { core, change, group, watched } = await running(density);
    await change(null);
    await watched();
    await core.fake.restart();
    await watched();
    expect(group()).toEqual({ weight: 200 });
    const { limits } = (await core.get('web')).status;
    expect([limits?.drifted, limits?.pending, limits?.repairedAt]).toEqual([undefined, undefined, undefined]);
    await core.stop('web');
    await core.start('web');
    expect(group()).toEqual({});
  });
});
