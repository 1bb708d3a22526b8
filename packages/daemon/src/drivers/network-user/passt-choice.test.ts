import { describe, expect, it } from 'vitest';
import { judgePasst, type PasstSights } from './passt-choice.ts';

const good: PasstSights = {
  wanted: 'auto',
  installed: true,
  features: { 'stream-network': true, 'stream-reconnect': true, 'stream-reconnect-ms': false },
  resolvers: ['127.0.0.53', '10.0.0.1'],
};
const judge = (change: Partial<PasstSights>) => judgePasst({ ...good, ...change });

describe('passt', () => {
  it('is taken where all is there, and QEMU connects again by the option that it has', () => {
    expect(judge({})).toMatchObject({ usable: true, reconnect: 'reconnect' });
    const features = { ...good.features, 'stream-reconnect-ms': true };
    expect(judge({ features })).toMatchObject({ usable: true, reconnect: 'reconnect-ms' });
  });

  it('is not taken where QEMU does not connect again, but when it is asked for', () => {
    const features = { 'stream-network': true };
    expect(judge({ features })).toMatchObject({ usable: false, why: expect.stringContaining('again') });
    expect(judge({ features, wanted: 'always' })).toMatchObject({ usable: true, reconnect: undefined });
  });

  it('is not taken where it cannot be, also when it is asked for', () => {
    const wanted = 'always';
    for (const change of [
      { installed: false },
      { features: {} },
      { resolvers: ['127.0.0.53', '::1'] },
      { resolvers: [] },
    ])
      expect(judge({ wanted, ...change })).toMatchObject({ usable: false, why: expect.stringMatching(/./) });
    expect(judge({ wanted: 'never' }).usable).toBe(false);
  });
});
