// What is refused: limits below what a guest and its QEMU need, and those that contradict each other.
import type { Instance, Limits } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { requireSound } from './floors.ts';
import { qemuMemoryMib } from './qemu-memory.ts';
import { wantedLimits } from './wanted.ts';

const ground = { accelerator: 'kvm', hostMib: 8192 } as const;
const nic = {
  name: 'nic0',
  slot: 0,
  network: 'default',
  mac: '02:00:00:00:00:01',
  model: 'virtio',
  securityGroups: [],
  publish: [],
  antiSpoofing: true,
} as const;

function check(limits: Limits): void {
  const instance: Pick<Instance, 'name' | 'spec'> = {
    name: 'web',
    spec: {
      cpus: 1,
      memoryMib: 512,
      machine: 'q35',
      accelerator: 'auto',
      nics: [{ ...nic, securityGroups: [], publish: [] }],
      disks: [],
      metadata: { enabled: true, tokens: 'required', hopLimit: 1 },
      restart: 'never',
      autostart: false,
      overcommit: false,
      limits,
    },
  };
  requireSound(instance, wantedLimits(instance, undefined, ground), ground);
}

const floorMib =
  512 +
  qemuMemoryMib({ cpus: 1, memoryMib: 512, nics: [nic], disks: [] } as unknown as Instance['spec'], ground);

describe('a limit', () => {
  it.each<[string, Limits]>([
    ['processor', { cpu: { cores: 0.01 } }],
    ['memory, with what its QEMU needs', { memory: { ceilingMib: floorMib - 1 } }],
    ['memory, also where it may be swapped', { memory: { ceilingMib: floorMib - 1, swapMib: 100 } }],
    ['memory left by the balloon', { memory: { balloonMib: 8 } }],
    ['bytes of disks', { disk: { readBytes: { rate: 100 } } }],
    ['operations of disks', { disk: { totalOperations: { rate: 1 } } }],
    ['bytes of the network', { eachNic: { ingress: { bytesPerSecond: 10 } } }],
    ['packets of the network', { eachNic: { egress: { packetsPerSecond: 1 } } }],
  ])('below what is needed of %s is refused with the floor', (_what, limits) => {
    expect(() => check(limits)).toThrow(expect.objectContaining({ code: 'limit.below_floor' }));
    expect(() => check(limits)).toThrow(/needs [\d.]+ at least/);
  });

  it.each<[string, Limits]>([
    [
      'a total beside a part of it',
      { disk: { totalBytes: { rate: 100_000 }, readBytes: { rate: 100_000 } } },
    ],
    ['a burst beyond what a period gives', { cpu: { cores: 0.5, burstMs: 60 } }],
    ['swap without a ceiling', { memory: { swapMib: 100 } }],
    ['a reservation above the ceiling', { memory: { ceilingMib: floorMib, reservationMib: floorMib + 1 } }],
    ['more than QEMU counts', { disk: { readBytes: { rate: 1e12, burst: 1e14, burstSeconds: 1000 } } }],
  ])('that is %s is refused', (_what, limits) => {
    expect(() => check(limits)).toThrow(expect.objectContaining({ code: 'limit.invalid' }));
  });

  it.each<[string, Limits]>([
    ['exactly the floor', { cpu: { cores: 0.05 }, memory: { ceilingMib: floorMib } }],
    ['none', { cpu: { cores: 0, weight: 0 }, memory: { ceilingMib: 0 } }],
    ['computed', { memory: { ceilingMib: 'auto' } }],
  ])('of %s is taken', (_what, limits) => {
    expect(() => check(limits)).not.toThrow();
  });
});
