import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createNames } from './names.ts';
import { port } from './plan.fixture.ts';
import { limitsOf } from './rate-readback.ts';
import { isToldOf, parseQdiscs, parseRedirects, toldBurst } from './tc-state.ts';

const names = createNames('main');
const tap = names.port(port());
const shaper = names.shaper(port());

/** As iproute2 6.1 wrote it, on Linux 6.18. */
const recordedQdiscs = `[{"kind":"noqueue","handle":"0:","dev":"lo","root":true,"refcnt":2,"options":{},"bytes":0,"packets":0,"drops":0,"overlimits":0,"requeues":0,"backlog":0,"qlen":0},{"kind":"tbf","handle":"aa93:","dev":"${tap}","root":true,"refcnt":2,"options":{"rate":1000000,"burst":73728,"lat":57344},"bytes":90,"packets":1,"drops":17,"overlimits":3,"requeues":0,"backlog":0,"qlen":0},{"kind":"ingress","handle":"ffff:","dev":"${tap}","parent":"ffff:fff1","options":{},"bytes":0,"packets":0,"drops":4,"overlimits":0,"requeues":0,"backlog":0,"qlen":0},{"kind":"tbf","handle":"aa94:","dev":"${shaper}","root":true,"refcnt":2,"options":{"rate":123456789,"burst":2962,"lat":1037},"bytes":0,"packets":0,"drops":0,"overlimits":0,"requeues":0,"backlog":0,"qlen":0},{"kind":"clsact","handle":"ffff:","dev":"eth1","parent":"ffff:fff1","options":{}},{"kind":"pfifo_fast","handle":"0:","dev":"eth1","root":true,"refcnt":2,"options":{"bands":3},"drops":9}]
`;
const u32 = (to: string, mask = '0', action = 'redirect'): string =>
  `[{"protocol":"all","pref":1,"kind":"u32","chain":0},{"protocol":"all","pref":1,"kind":"u32","chain":0,"options":{"fh":"800:","ht_divisor":1}},{"protocol":"all","pref":1,"kind":"u32","chain":0,"options":{"fh":"800::1","order":1,"key_ht":"800","bkt":"0","not_in_hw":true,"match":{"value":"0","mask":"${mask}","offmask":"","off":0},"actions":[{"order":1,"kind":"mirred","mirred_action":"${action}","direction":"egress","to_dev":"${to}","control_action":{"type":"stolen"},"index":1,"ref":1,"bind":1}]}}]\n`;
const matchall = (to: string): string =>
  `[{"protocol":"all","pref":1,"kind":"matchall","chain":0},{"protocol":"all","pref":1,"kind":"matchall","chain":0,"options":{"handle":1,"not_in_hw":true,"actions":[{"order":1,"kind":"mirred","mirred_action":"redirect","direction":"egress","to_dev":"${to}","control_action":{"type":"stolen"},"index":1,"ref":1,"bind":1}]}}]\n`;

describe('what tc says', () => {
  it('is read: rates, bursts, drops, and where packets that come in can be filtered', () => {
    const found = parseQdiscs(recordedQdiscs);
    expect(found.get(tap)).toEqual({
      ...{ kind: 'tbf', bytesPerSecond: 1_000_000, burstBytes: 73_728, dropped: 17 },
      incoming: 'ingress',
    });
    expect(found.get(shaper)).toMatchObject({ bytesPerSecond: 123_456_789, burstBytes: 2_962 });
    expect(found.get('eth1')).toEqual({ kind: 'pfifo_fast', dropped: 0, incoming: 'clsact' });
    expect(found.get('lo')).toEqual({ kind: 'noqueue', dropped: 0 });
  });

  it('tells where all that comes in is redirected to, and of nothing else', () => {
    const some = u32('wfnarrow', 'ff000000');
    const mirrored = u32('wfmirror', '0', 'mirror');
    const text = `${u32('wfone')}[]\n${matchall('wftwo')}${some}${mirrored}`;
    expect([...parseRedirects(text)]).toEqual(['wfone', 'wftwo']);
    // What was redirected to an interface that is gone goes to nobody.
    expect(parseRedirects(u32('*')).has('wfone')).toBe(false);
  });

  it('may be anything', () => {
    fc.assert(
      fc.property(fc.string(), fc.json(), (text, json) => {
        for (const any of [text, `[${text}`, json, `[${json}]`, `[{"options":${json}},{"actions":[null]}]`])
          void [parseQdiscs(any), parseRedirects(any)];
      }),
    );
  });

  it.each([
    // Rate, burst, and what tc told of it.
    [123_456_789, 1_600, 1_481],
    [123_456_789, 3_001, 2_962],
    [123_456_789, 100_000, 99_876],
    [123_456_789, 4_000_000_000, 3_999_999_963],
    [1_000_000_000, 65_536, 65_000],
    [12_345_678_901, 65_536, 61_728],
    [100, 65_536, 10_560],
    [1_000, 65_536, 65_536],
  ])('of %i bytes a second and a burst of %i is %i, which is the same', (rate, burst, told) => {
    expect(isToldOf(rate, burst, told)).toBe(true);
    expect(isToldOf(rate, burst * 2, told)).toBe(false);
    expect(Math.abs(toldBurst(rate, burst) - told)).toBeLessThanOrEqual((rate * 2) / 1e6 + 2);
  });
});

describe('the rates of a port', () => {
  const state = { qdiscs: parseQdiscs(recordedQdiscs), redirected: new Set([shaper]) };
  const packets = { ingress: new Map([[tap, 500]]), egress: new Map() };
  it('are those of its tap towards the guest, and those of its other interface from it', () => {
    const planned = port({ limits: { egress: { bytesPerSecond: 123_456_789, burstBytes: 3_001 } } });
    expect(limitsOf(planned, names, state, packets)).toEqual({
      ingress: { bytesPerSecond: 1_000_000, burstBytes: 73_728, packetsPerSecond: 500 },
      egress: { bytesPerSecond: 123_456_789, burstBytes: 3_001 },
    });
  });
  it('are none where nothing leads to what would throttle', () => {
    const cut = { ...state, redirected: new Set<string>() };
    expect(limitsOf(port(), names, cut, packets)).not.toHaveProperty('egress');
    expect(limitsOf(port({ nic: 'nic1' }), names, state, { ingress: new Map(), egress: new Map() })).toEqual(
      {},
    );
  });
});
