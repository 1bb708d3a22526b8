import { describe, expect, it } from 'vitest';
import { membershipIn, parseMemberships, placesOf } from './places.ts';
import {
  fieldOf,
  pressureIn,
  processSecondsIn,
  residentBytesIn,
  threadUsageIn,
  throttlingIn,
} from './usage-files.ts';

describe('what the kernel says of use', () => {
  it('has throttled time in nanoseconds on version 1 and in microseconds on version 2', () => {
    const same = { periods: 40, throttledPeriods: 12, throttledSeconds: 1.5 };
    expect(throttlingIn('nr_periods 40\nnr_throttled 12\nthrottled_time 1500000000\n')).toEqual(same);
    const v2 =
      'usage_usec 9\nuser_usec 8\nsystem_usec 1\nnr_periods 40\nnr_throttled 12\nthrottled_usec 1500000\n';
    expect(throttlingIn(v2)).toEqual(same);
    expect(fieldOf(v2, 'usage_usec')).toBe(9);
    expect(throttlingIn('usage_usec 9\n')).toEqual({ periods: 0, throttledPeriods: 0, throttledSeconds: 0 });
  });

  it('has names that are found whole', () => {
    expect(fieldOf('nr_periods_x 3\nnr_periods 4\n', 'nr_periods')).toBe(4);
    expect(fieldOf('xnr_periods 3\n', 'nr_periods')).toBeUndefined();
    expect(fieldOf('', 'nr_periods')).toBeUndefined();
  });

  it('has pressure in percent, given as a share', () => {
    const text =
      'some avg10=12.50 avg60=1.00 avg300=0.10 total=123\nfull avg10=1.00 avg60=0.00 avg300=0.00 total=1\n';
    expect(pressureIn(text)).toBe(0.125);
    expect(pressureIn('')).toBeUndefined();
  });

  it('has run time and run delay of a thread, and nothing for one that has ended', () => {
    expect(threadUsageIn('1500000000 250000000 17\n')).toEqual({ cpuSeconds: 1.5, stealSeconds: 0.25 });
    expect(threadUsageIn('')).toEqual({ cpuSeconds: 0, stealSeconds: 0 });
  });

  it('has a process name that may look like fields', () => {
    const stat = '42 (a) R 1) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 777 1 1';
    expect(processSecondsIn(stat)).toBe(3);
    expect(processSecondsIn('')).toBe(0);
    expect(residentBytesIn('VmPeak:\t 9 kB\nVmRSS:\t    2048 kB\n')).toBe(2 * 1024 * 1024);
    expect(residentBytesIn('')).toBe(0);
  });
});

describe('the groups of a process', () => {
  const text = '12:cpu,cpuacct:/wirt/a/b\n5:memory:/x:y\n1:name=systemd:/z\n0::/wirt/a/c\n';
  const v1 = (...controllers: string[]) => ({ version: 'v1', mountPoint: '/cg/x', controllers }) as const;
  const v2 = { version: 'v2', mountPoint: '/cg/u', controllers: ['io'] } as const;

  it('are found by controller, and version 2 apart', () => {
    const found = parseMemberships(text);
    expect(membershipIn(found, v1('cpuacct', 'cpu'))).toBe('/wirt/a/b');
    expect(membershipIn(found, v1('memory'))).toBe('/x:y');
    expect(membershipIn(found, v2)).toBe('/wirt/a/c');
    expect(membershipIn(found, v1('pids'))).toBeUndefined();
    expect(parseMemberships('rubbish\n\n').size).toBe(0);
  });

  it('are taken controller by controller on a hybrid host', () => {
    const hierarchies = [v1('cpu'), v1('cpuacct'), v1('memory'), v2];
    const path = '/cg/x/g';
    const pathOf = ({ version }: { version: 'v1' | 'v2' }) => (version === 'v2' ? '/cg/u/g' : path);
    expect(placesOf(hierarchies, pathOf)).toEqual({
      cpu: { version: 'v1', path },
      memory: { version: 'v1', path },
      io: { version: 'v2', path: '/cg/u/g' },
      accounting: { version: 'v1', path },
      pressure: { version: 'v2', path: '/cg/u/g' },
    });
    expect(placesOf([v1('memory')], pathOf)).toEqual({ memory: { version: 'v1', path } });
  });
});
