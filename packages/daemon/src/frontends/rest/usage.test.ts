import type { UsageHistoryQuery, UsageListQuery } from '@wirt/api';
import { WirtError } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import type { Given } from './fake-actions.ts';
import { openDoor } from './fake-door.ts';

const at = '2026-11-22T06:00:05.000Z';

async function get(given: Given['usage'] & object, url: string) {
  const { app } = await openDoor({ usage: given });
  return app.inject({ url });
}

describe('the routes of usage', () => {
  it('list a project’s, and pass on what is waited for', async () => {
    const asked: UsageListQuery[] = [];
    const list = async (_request: unknown, query: UsageListQuery) => {
      asked.push(query);
      return { at, items: [] };
    };
    const answer = await get({ list }, `/v1/usage?project=lab&after=${at}`);
    expect([answer.statusCode, answer.json()]).toEqual([200, { at, items: [] }]);
    await get({ list }, '/v1/usage');
    expect(asked).toEqual([{ project: 'lab', after: at }, { project: 'default' }]);
  });

  it('tell why an instance has none', async () => {
    const refusal = new WirtError('instance.state_conflict', 'Instance a is stopped.');
    const answer = await get({ get: () => Promise.reject(refusal) }, '/v1/instances/a/usage');
    expect(answer.json()).toMatchObject({ status: 409, code: 'instance.state_conflict' });
  });

  it('give the history for a range and a resolution', async () => {
    const asked: [string, UsageHistoryQuery][] = [];
    const history = async (ref: string, query: UsageHistoryQuery) => {
      asked.push([ref, query]);
      return { resolutionSeconds: 300, points: [] };
    };
    const answer = await get(
      { history },
      `/v1/instances/a/usage/history?from=${at}&to=2026-11-22T07:00:00Z&resolutionSeconds=300`,
    );
    expect(answer.json()).toEqual({ resolutionSeconds: 300, points: [] });
    expect(asked).toEqual([['a', { from: at, to: '2026-11-22T07:00:00Z', resolutionSeconds: 300 }]]);
  });

  it.each([
    '/v1/usage?after=yesterday',
    '/v1/instances/a/usage/history?from=1',
    '/v1/instances/a/usage/history?resolutionSeconds=4',
    '/v1/instances/a/usage/history?resolutionSeconds=1e9',
    '/v1/instances/a/usage/history?resolutionSeconds=5m',
  ])('refuse %s before any action', async (url) => {
    const answer = await get({}, url);
    expect(answer.json()).toMatchObject({ status: 400, code: 'request.invalid' });
  });
});
