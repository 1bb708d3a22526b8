import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseLeases, staleLeases, withoutLeases } from './leases.ts';

const text = `1795397108 02:00:00:00:00:01 10.80.0.5 web 01:02:00:00:00:00:01
0 06-02:00:00:00:00:02 10.80.0.6 * *
duid 00:01:00:01:32:95:a9:a5:02:2d:9d:80:19:a8
1795397108 257 fd80::5 web 00:01:00:01:32
`;

describe('leases', () => {
  it('are read with their ends', () => {
    expect(parseLeases(text)).toEqual([
      { address: '10.80.0.5', mac: '02:00:00:00:00:01', untilMs: 1_795_397_108_000 },
      { address: '10.80.0.6', mac: '02:00:00:00:00:02' },
      { address: 'fd80::5', untilMs: 1_795_397_108_000 },
    ]);
    fc.assert(fc.property(fc.string(), (any) => void parseLeases(any)));
  });

  it('are stale when another card has the address by now', () => {
    const leases = parseLeases(text);
    expect(staleLeases(leases, [{ mac: '02:00:00:00:00:01', ipv4: '10.80.0.5', ipv6: 'fd80::5' }])).toEqual(
      new Set(),
    );
    const stale = staleLeases(leases, [{ mac: '02:00:00:00:00:09', ipv4: '10.80.0.5', ipv6: 'fd80::5' }]);
    expect(stale).toEqual(new Set(['10.80.0.5', 'fd80::5']));
    expect(parseLeases(withoutLeases(text, stale)).map(({ address }) => address)).toEqual(['10.80.0.6']);
    expect(withoutLeases(text, stale)).toContain('duid ');
  });
});
