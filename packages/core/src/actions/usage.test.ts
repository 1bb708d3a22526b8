import { usageHistoryQuery } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import type { Request } from './actions.ts';
import { idle, idOf, usageScene, usageStart } from './usage.fixture.ts';
import { createUsageActions, rangeOf } from './usage.ts';

function actionsOf(scene: ReturnType<typeof usageScene>) {
  const live = { get: (id: string) => scene.live.get(id), all: () => scene.live.values() };
  return createUsageActions(scene.needs, live, scene.sampler);
}

const request = (signal: AbortSignal = new AbortController().signal): Request => ({
  caller: 'socket',
  signal,
});
const timeAt = (ms: number): string => new Date(usageStart + ms).toISOString();

describe('listing usage', () => {
  it('gives the guests of one project, as the last pass found them', async () => {
    const scene = usageScene(3);
    scene.change(1, (instance) => ({ ...instance, project: 'lab' }));
    await scene.passAfter(5_000);
    const usage = actionsOf(scene);
    const ofDefault = await usage.list(request(), { project: 'default' });
    expect(ofDefault.at).toBe(timeAt(5_000));
    expect(ofDefault.items.map(({ name }) => name)).toEqual(['web-0', 'web-2']);
    expect((await usage.list(request(), { project: 'lab' })).items).toHaveLength(1);
  });

  it('is empty before the first pass', async () => {
    const scene = usageScene(1);
    expect(await actionsOf(scene).list(request(), { project: 'default' })).toEqual({
      at: timeAt(0),
      items: [],
    });
  });

  it('with `after` waits for a later pass, and answers at once where there is one', async () => {
    const scene = usageScene(1);
    await scene.sampler.pass();
    const usage = actionsOf(scene);
    let answered = false;
    const waiting = usage.list(request(), { project: 'default', after: timeAt(0) }).finally(() => {
      answered = true;
    });
    await Promise.resolve();
    expect(answered).toBe(false);
    await scene.passAfter(5_000);
    expect((await waiting).at).toBe(timeAt(5_000));
    expect((await usage.list(request(), { project: 'default', after: timeAt(1) })).at).toBe(timeAt(5_000));
  });

  it('with `after` waits no longer than the asker does', async () => {
    const scene = usageScene(1);
    await scene.sampler.pass();
    const asker = new AbortController();
    const waiting = actionsOf(scene).list(request(asker.signal), { project: 'default', after: timeAt(0) });
    asker.abort(new Error('gone'));
    expect((await waiting).at).toBe(timeAt(0));
  });
});

describe('the usage of one instance', () => {
  it('is of the last pass', async () => {
    const scene = usageScene(2);
    await scene.passAfter(5_000);
    expect(await actionsOf(scene).get('web-1')).toMatchObject({ instance: idOf(1), at: timeAt(5_000) });
  });

  it('is read at once where no pass has seen it yet, and its first rates are of the time since', async () => {
    const scene = usageScene(1);
    const usage = actionsOf(scene);
    const [guest] = scene.guests;
    expect(await usage.get('web-0')).toMatchObject({
      at: timeAt(0),
      cpu: { cores: 0 },
      disks: [{ name: 'vda' }],
    });
    if (guest !== undefined) guest.group = { ...idle, cpuSeconds: 2 };
    await scene.passAfter(4_000);
    expect((await usage.get('web-0')).cpu.cores).toBe(0.5);
  });

  it('is refused, with the state it is in, when it does not run', async () => {
    const scene = usageScene(1);
    scene.live.clear();
    scene.change(0, (instance) => ({ ...instance, status: { ...instance.status, state: 'stopped' } }));
    await expect(actionsOf(scene).get('web-0')).rejects.toMatchObject({
      code: 'instance.state_conflict',
      message: expect.stringContaining('web-0 is stopped'),
      hint: expect.stringContaining('wirt start web-0'),
    });
    await expect(actionsOf(scene).get('nobody')).rejects.toMatchObject({ code: 'instance.not_found' });
  });
});

describe('a survey', () => {
  it('has all instances of all projects, and the usage of those that run', async () => {
    const scene = usageScene(2);
    scene.live.delete(idOf(1));
    scene.change(1, (instance) => ({ ...instance, project: 'lab' }));
    await scene.passAfter(5_000);
    const { at, passes, instances } = await actionsOf(scene).survey();
    expect([at, passes]).toEqual([timeAt(5_000), 1]);
    expect(instances).toMatchObject([
      { name: 'web-0', project: 'default', usage: { instance: idOf(0) } },
      { name: 'web-1', project: 'lab', usage: undefined },
    ]);
  });
});

describe('the history of an instance', () => {
  const hour = 3_600_000;
  const now = timeAt(24 * hour);
  const range = (query: object) => rangeOf(usageHistoryQuery.parse(query), now);

  it('is read for the range, with times as they are shown', async () => {
    const scene = usageScene(1);
    const asked: unknown[] = [];
    scene.history = {
      read: async (id, of) => {
        asked.push([id, of]);
        return [{ atMs: usageStart + 5_000, cpuCores: 0.5 } as never];
      },
    };
    scene.advance(hour);
    expect(await actionsOf(scene).history('web-0', {})).toEqual({
      resolutionSeconds: 5,
      points: [{ at: timeAt(5_000), cpuCores: 0.5 }],
    });
    expect(asked).toEqual([[idOf(0), { fromMs: usageStart, toMs: usageStart + hour, resolutionMs: 5_000 }]]);
    await expect(actionsOf(scene).history('nobody', {})).rejects.toMatchObject({
      code: 'instance.not_found',
    });
  });

  it.each([
    ['the last hour', {}, 5],
    ['the last hour, by a clock that was read a moment ago', { from: timeAt(23 * hour - 500) }, 10],
    ['ten minutes', { from: timeAt(24 * hour - 600_000) }, 5],
    ['an hour yesterday', { from: timeAt(0), to: timeAt(hour) }, 300],
    ['a day', { from: timeAt(0) }, 300],
    ['a month', { from: timeAt(-30 * 24 * hour) }, 3900],
  ])('has the finest resolution that gives 720 points at most: %s', (_what, query, resolutionSeconds) => {
    const found = range(query);
    expect(found.resolutionSeconds).toBe(resolutionSeconds);
    expect((found.toMs - found.fromMs) / 1000 / resolutionSeconds).toBeLessThanOrEqual(720);
  });

  it.each([
    ['begins where it ends', { from: now }],
    ['ends before it begins', { from: timeAt(5_000), to: timeAt(0) }],
    ['has a resolution that is no multiple of 5 s', { resolutionSeconds: 7 }],
  ])('is refused where it %s', (_what, query) => {
    expect(() => range(query)).toThrow(expect.objectContaining({ code: 'request.invalid' }));
  });
});
