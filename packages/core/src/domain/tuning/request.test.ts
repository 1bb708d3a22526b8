// What the planner is asked for: own wishes over the profile's, and nothing at all for a guest that the kernel serves as well.
import { type Instance, type Tuning, tuningProfiles } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { hostOf } from '../placement/topology.fixture.ts';
import {
  demandsPages,
  isDedicated,
  needsPlacing,
  pageSizeOf,
  placementOf,
  requestOf,
  userPinsOf,
  withoutPages,
} from './request.ts';

const shape = { nodes: 2, coresPerNode: 4, threads: 1, mibPerNode: 4096 } as const;
const pool = { sizeKib: 2048, total: 0, free: 0 };
const withPool = hostOf({ ...shape, hugePages: { 0: pool, 1: pool } });
const withoutPool = hostOf(shape);

function guest(tuning?: Tuning, more: Partial<Instance['spec']> = {}): Pick<Instance, 'name' | 'spec'> {
  const spec = {
    cpus: 2,
    memoryMib: 1024,
    overcommit: false,
    ...(tuning === undefined ? {} : { tuning }),
    ...more,
  };
  // Only these fields of a spec are of placement.
  return { name: 'web', spec: spec as Instance['spec'] };
}

const one = { nodes: 1, isPartlyDedicated: false };
const two = { nodes: 2, isPartlyDedicated: false };

describe('whether a guest is placed', () => {
  it('is not, by default, on a host with one node where nobody has processors alone', () => {
    expect(needsPlacing(guest(), one)).toBe(false);
    expect(needsPlacing(guest({ profile: 'density' }), one)).toBe(false);
    expect(needsPlacing(guest({ dedicated: false, hugePages: 'none', placement: 'none' }), one)).toBe(false);
  });

  it('is on a host with more, unless it is to be wherever the kernel likes', () => {
    expect(needsPlacing(guest(), two)).toBe(true);
    expect(needsPlacing(guest({ placement: 'none' }), two)).toBe(false);
    expect(needsPlacing(guest({ profile: 'density' }), two)).toBe(false);
  });

  it('is wherever somebody has processors alone, since it has to keep off them', () => {
    const host = { nodes: 1, isPartlyDedicated: true };
    for (const profile of tuningProfiles) expect(needsPlacing(guest({ profile }), host)).toBe(true);
    expect(needsPlacing(guest(), host)).toBe(true);
  });

  it.each<Tuning>([
    { profile: 'latency' },
    { placement: 'auto' },
    { dedicated: true },
    { hugePages: '1G' },
    { vcpuPins: { '0': '1' } },
    { emulatorPin: '1' },
    { iothreadPin: '1' },
    { topology: { sockets: 1, cores: 1, threads: 2 } },
  ])('is on any host when it asks for %j', (tuning) => {
    expect(needsPlacing(guest(tuning), one)).toBe(true);
  });
});

describe('the wishes of an instance', () => {
  it('go before those of its profile, one by one', () => {
    const latency = guest({ profile: 'latency', dedicated: false });
    expect([isDedicated(latency), pageSizeOf(latency)]).toEqual([false, 2048]);
    const large = guest({ profile: 'latency', hugePages: '1G', placement: 'none' });
    expect([isDedicated(large), pageSizeOf(large), placementOf(large)]).toEqual([true, 1_048_576, 'none']);
    expect(pageSizeOf(guest({ profile: 'latency', hugePages: 'none' }))).toBeUndefined();
    expect(placementOf(guest({ profile: 'density', placement: 'auto' }))).toBe('auto');
  });

  it('demand huge pages only where they name them, whatever the profile would', () => {
    expect(demandsPages(guest({ profile: 'latency' }))).toBe(false);
    expect(demandsPages(guest())).toBe(false);
    for (const profile of tuningProfiles)
      expect(demandsPages(guest({ profile, hugePages: '2M' }))).toBe(true);
  });

  it('name no pins where none are asked for', () => {
    expect(userPinsOf(guest({ dedicated: true }))).toBeUndefined();
    expect(userPinsOf(guest({ vcpuPins: { '1': '3' }, iothreadPin: '0' }))).toEqual({
      vcpus: { '1': '3' },
      iothreads: '0',
    });
  });
});

describe('a request', () => {
  it('has pins as numbers, and as many vCPUs as it may ever have', () => {
    const tuning = { vcpuPins: { '0': '4-5', '3': '1' }, emulatorPin: '0,2', iothreadPin: '7' };
    expect(requestOf(guest(tuning, { maxCpus: 4 }), withoutPool, { mayReserve: false })).toMatchObject({
      name: 'web',
      cpus: 2,
      maxCpus: 4,
      pins: { vcpus: { 0: [4, 5], 3: [1] }, emulator: [0, 2], iothreads: [7] },
    });
    expect(requestOf(guest(undefined, { maxCpus: 1 }), withoutPool, { mayReserve: false }).maxCpus).toBe(2);
  });

  it('of latency is of the host’s own pages where the host has no huge ones and can be given none', () => {
    const latency = guest({ profile: 'latency' });
    expect(requestOf(latency, withoutPool, { mayReserve: true }).pageSizeKib).toBeUndefined();
    expect(requestOf(latency, withPool, { mayReserve: false }).pageSizeKib).toBeUndefined();
    expect(requestOf(latency, withPool, { mayReserve: true }).pageSizeKib).toBe(2048);
    const filled = hostOf({ ...shape, hugePages: { 1: { sizeKib: 2048, total: 8, free: 0 } } });
    expect(requestOf(latency, filled, { mayReserve: false }).pageSizeKib).toBe(2048);
    const larger = hostOf({ ...shape, hugePages: { 1: { sizeKib: 1_048_576, total: 8, free: 8 } } });
    expect(requestOf(latency, larger, { mayReserve: true }).pageSizeKib).toBeUndefined();
  });

  it('without its huge pages is the same in all else', () => {
    const { pageSizeKib, ...rest } = requestOf(guest({ profile: 'latency' }), withPool, { mayReserve: true });
    expect(pageSizeKib).toBe(2048);
    expect(withoutPages({ ...rest, pageSizeKib: 2048 })).toEqual(rest);
  });

  it('keeps huge pages that the instance itself asks for, whatever the host has', () => {
    for (const profile of tuningProfiles) {
      const asked = guest({ profile, hugePages: '2M' });
      expect(requestOf(asked, withoutPool, { mayReserve: false })).toMatchObject({
        pageSizeKib: 2048,
        mayReservePages: false,
      });
    }
  });
});
