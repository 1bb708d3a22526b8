// What an instance is held to: its own values over those of its policy, field by field.
import type { Instance, Limits, Policy, Tuning } from '@wirt/api';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { over, patched, wantedLimits } from './wanted.ts';

const ground = { accelerator: 'kvm', hostMib: 8192 } as const;

function instance(limits: Limits, more: Partial<Instance['spec']> = {}): Pick<Instance, 'spec'> {
  return {
    spec: {
      cpus: 2,
      memoryMib: 512,
      machine: 'q35',
      accelerator: 'auto',
      nics: [],
      disks: [],
      metadata: { enabled: true, tokens: 'required', hopLimit: 1 },
      restart: 'never',
      autostart: false,
      overcommit: false,
      limits,
      ...more,
    },
  };
}

const policy = (limits: Limits): Policy => ({
  id: 'P',
  name: 'gold',
  project: 'default',
  labels: {},
  revision: 1,
  createdAt: '',
  spec: { description: '', limits },
  status: { instances: [] },
});

const disk = {
  name: 'root',
  bus: 'virtio',
  slot: 0,
  device: 'disk',
  volume: 'V',
  readOnly: false,
  deleteOnTermination: true,
} as const;

describe('what an instance is held to', () => {
  it('is its own value where it has one, and else the policy’s', () => {
    const { group } = wantedLimits(
      instance({ cpu: { cores: 1 } }),
      policy({ cpu: { cores: 2, weight: 300 } }),
      ground,
    );
    expect(group).toEqual({ cores: 1, weight: 300 });
  });

  it('has no limit where it says 0, also over a policy', () => {
    const { group, all } = wantedLimits(
      instance({ cpu: { cores: 0 }, disk: { readBytes: { rate: 0 } } }),
      policy({ cpu: { cores: 2 }, disk: { readBytes: { rate: 1_000_000 } } }),
      ground,
    );
    expect(group).toEqual({});
    expect(all).toEqual({});
  });

  it('has no burst of the processor without a limit', () => {
    expect(wantedLimits(instance({ cpu: { burstMs: 20 } }), undefined, ground).group).toEqual({});
  });

  it('counts with its QEMU where the ceiling is `auto`: more disks, more processors, more to plug in', () => {
    const ceiling = (more: Partial<Instance['spec']>): number =>
      wantedLimits(instance({ memory: { ceilingMib: 'auto' } }, more), undefined, ground).group.ceilingMib ??
      0;
    expect(ceiling({})).toBeGreaterThan(512 + 64);
    expect(ceiling({ disks: [disk] })).toBeGreaterThan(ceiling({}));
    expect(ceiling({ maxCpus: 8 })).toBeGreaterThan(ceiling({}));
    expect(ceiling({ maxMemoryMib: 2048 })).toBeGreaterThan(ceiling({}) + 1536 - 1);
  });

  it('may be swapped out by nothing at all, which is not the same as no limit', () => {
    const { group } = wantedLimits(instance({ memory: { ceilingMib: 1024, swapMib: 0 } }), undefined, ground);
    expect(group).toEqual({ ceilingMib: 1024, swapMib: 0 });
  });

  it('has for each disk what the disk says, over what all disks have', () => {
    const limits = { totalOperations: { rate: 50 } };
    const { each } = wantedLimits(
      instance(
        { eachDisk: { readBytes: { rate: 1_000_000 }, totalOperations: { rate: 500 } } },
        { disks: [{ ...disk, limits }] },
      ),
      undefined,
      ground,
    );
    expect(each).toEqual({ root: { readBytes: { rate: 1_000_000 }, totalOperations: { rate: 50 } } });
  });

  it('takes its own total for the parts of a policy, and its own part for a policy’s total', () => {
    const parts = policy({ disk: { readBytes: { rate: 100_000 }, writeBytes: { rate: 200_000 } } });
    expect(wantedLimits(instance({ disk: { totalBytes: { rate: 300_000 } } }), parts, ground).all).toEqual({
      totalBytes: { rate: 300_000 },
    });
    const total = policy({ disk: { totalBytes: { rate: 300_000 } } });
    expect(wantedLimits(instance({ disk: { readBytes: { rate: 100_000 } } }), total, ground).all).toEqual({
      readBytes: { rate: 100_000 },
    });
  });
});

describe('what a guest is held to by its profile', () => {
  const size = { cpus: 2, maxCpus: 2, memoryMib: 512, maxMemoryMib: 512 };
  const density = { profile: 'density' } as const;
  const ofProfile = (asked: Tuning | undefined, started?: Tuning | 'unknown') => {
    const tuning = started === undefined || started === 'unknown' ? {} : { tuning: started };
    const status = started === undefined ? {} : { status: { run: { ...size, ...tuning } } };
    const whole = { ...instance({}, asked === undefined ? {} : { tuning: asked }), ...status };
    const { group, freePageReporting } = wantedLimits(whole, undefined, ground);
    return [group.weight, freePageReporting];
  };

  it('is what is asked for, before it is started', () => {
    expect(ofProfile(density)).toEqual([200, true]);
    expect(ofProfile(undefined)).toEqual([undefined, false]);
  });

  it('stays what it was started with, however its profile is changed while it runs', () => {
    expect(ofProfile(density, {})).toEqual([undefined, false]);
    expect(ofProfile(undefined, density)).toEqual([200, true]);
  });

  it('is what is asked for, where a wirtd that did not keep it has started it', () => {
    expect(ofProfile(density, 'unknown')).toEqual([200, true]);
  });

  it('is nothing beside its own limits and its policy’s, which may be changed at any time', () => {
    const whole = { ...instance({ cpu: { weight: 7 } }), status: { run: { ...size, tuning: density } } };
    expect(wantedLimits(whole, undefined, ground).group.weight).toBe(7);
    const shared = { ...instance({}), status: { run: { ...size, tuning: density } } };
    expect(wantedLimits(shared, policy({ cpu: { weight: 300 } }), ground).group.weight).toBe(300);
  });
});

describe('a patch', () => {
  const value = fc.option(fc.integer({ min: 0, max: 9 }), { nil: undefined });
  const sections = fc.record({
    cpu: fc.record({ cores: value, weight: value }),
    disk: fc.record({ weight: value }),
  });

  it('takes out what is null, leaves what is absent, and no empty section behind', () => {
    const base: Limits = { cpu: { cores: 2, weight: 50 }, memory: { swapMib: 3 } };
    expect(patched(base, { cpu: { cores: null }, memory: { swapMib: null } })).toEqual({
      cpu: { weight: 50 },
    });
    expect(patched(base, { cpu: null })).toEqual({ memory: { swapMib: 3 } });
    expect(patched(undefined, { disk: { readBytes: { rate: 5, burst: 9 } } })).toEqual({
      disk: { readBytes: { rate: 5, burst: 9 } },
    });
  });

  it('puts a rate in the place of another as a whole', () => {
    const base = { disk: { readBytes: { rate: 5, burst: 9 } } };
    expect(patched(base, { disk: { readBytes: { rate: 6 } } })).toEqual({ disk: { readBytes: { rate: 6 } } });
  });

  it('done twice is done once, and does not change what it is of', () => {
    fc.assert(
      fc.property(sections, sections, (base, patch) => {
        const before = structuredClone(base);
        const once = patched(base, patch);
        expect(patched(once, patch)).toEqual(once);
        expect(base).toEqual(before);
        expect(over<object>({}, base)).toEqual(over<object>({}, before));
      }),
    );
  });
});
