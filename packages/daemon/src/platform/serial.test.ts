// Work one after the other, in order, whatever comes of it.
import { expect, it } from 'vitest';
import { serially } from './serial.ts';

it('begins what was asked for later when all before has ended, also badly, and gives each its own result', async () => {
  const inTurn = serially();
  const first = Promise.withResolvers<string>();
  const seen: string[] = [];
  const results = [
    inTurn(() => first.promise),
    inTurn(() => Promise.reject(new Error('second'))),
    inTurn(async () => {
      seen.push('third');
      return 'third';
    }),
  ];
  await Promise.resolve();
  expect(seen).toEqual([]);
  first.resolve('first');
  expect(await Promise.allSettled(results)).toMatchObject([
    { value: 'first' },
    { reason: { message: 'second' } },
    { value: 'third' },
  ]);
});
