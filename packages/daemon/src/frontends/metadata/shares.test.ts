import { expect, it } from 'vitest';
import { createShares, type ShareLimits } from './shares.ts';

const limits: ShareLimits = { connectionsOfGuest: 2, connections: 4, burst: 10, perSecond: 5 };

function scene(given: Partial<ShareLimits> = {}) {
  const time = { nowMs: 0 };
  const shares = createShares({ ...limits, ...given }, () => time.nowMs);
  const ended: string[] = [];
  const connection = (name: string) => ({ destroy: () => ended.push(name) });
  return { time, shares, ended, connection };
}

it('lets a guest have so many connections, and another when one has ended', () => {
  const { shares, connection } = scene();
  const [a, b, c] = [connection('a'), connection('b'), connection('c')];
  expect([shares.enter('one', a), shares.enter('one', b), shares.enter('one', c)]).toEqual([
    true,
    true,
    false,
  ]);
  shares.leave('one', a);
  shares.leave('one', a);
  expect([shares.enter('one', c), shares.enter('two', a)]).toEqual([true, true]);
});

it('ends the oldest connection of who has most, where all are taken', () => {
  const { shares, connection, ended } = scene({ connectionsOfGuest: 3 });
  for (const name of ['a1', 'a2', 'a3']) shares.enter('a', connection(name));
  shares.enter('b', connection('b1'));
  expect(shares.enter('c', connection('c1'))).toBe(true);
  expect(shares.enter('d', connection('d1'))).toBe(true);
  expect(ended).toEqual(['a1', 'a2']);
});

it('puts off who has asked too much, and nobody else, until time has passed', () => {
  const { shares, time } = scene();
  const served = Array.from({ length: 20 }, () => shares.spend('one', 1)).filter(Boolean);
  expect(served).toHaveLength(10);
  expect(shares.spend('two', 1)).toBe(true);
  time.nowMs += 1000;
  expect(Array.from({ length: 20 }, () => shares.spend('one', 1)).filter(Boolean)).toHaveLength(5);
});

it('has what is large paid for afterwards', () => {
  const { shares, time } = scene();
  expect([shares.spend('one', 20), shares.spend('one', 1)]).toEqual([true, false]);
  time.nowMs += 2000;
  expect(shares.spend('one', 1)).toBe(false);
  time.nowMs += 400;
  expect(shares.spend('one', 1)).toBe(true);
});

it('refuses connections too to who has nothing left', () => {
  const { shares, connection } = scene();
  shares.spend('one', 10);
  expect(shares.enter('one', connection('a'))).toBe(false);
});

it('forgets guests that are gone, and none that owes', () => {
  const { shares, time } = scene();
  shares.spend('debtor', 1000);
  for (let guest = 0; guest < 10_000; guest += 1) {
    time.nowMs += 1;
    shares.spend(`guest ${guest}`, 1);
  }
  expect(shares.spend('debtor', 1)).toBe(false);
});
