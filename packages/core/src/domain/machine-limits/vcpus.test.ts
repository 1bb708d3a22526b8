import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { highestApicId, needsWideApic } from './apic.ts';
import { needsTrial, requireVcpus, type VcpuGround } from './vcpus.ts';

const old = { version: '7.2.22', maxCpus: { q35: 288, microvm: 288 } };
const recent = { version: '10.0.2', maxCpus: { q35: 4096, microvm: 288 } };
const ground: VcpuGround = {
  name: 'big',
  maxCpus: 64,
  machine: 'q35',
  accelerator: 'tcg',
  qemu: old,
  acceleratorMax: undefined,
};
const refusal = (change: Partial<VcpuGround>): unknown => {
  try {
    requireVcpus({ ...ground, ...change });
  } catch (error) {
    return error;
  }
  return undefined;
};

describe('how many vCPUs a guest can have', () => {
  it('is as many as the least of machine type and accelerator allows', () => {
    expect(refusal({})).toBeUndefined();
    expect(refusal({ maxCpus: 255, acceleratorMax: 255 })).toBeUndefined();
    expect(refusal({ maxCpus: 1024, qemu: recent, acceleratorMax: 4096 })).toBeUndefined();
    expect(refusal({ maxCpus: 288, accelerator: 'kvm', acceleratorMax: 1024 })).toBeUndefined();
  });

  it('is told with where the limit comes from, and the QEMU that would do', () => {
    expect(refusal({ maxCpus: 256, acceleratorMax: 255 })).toMatchObject({
      code: 'instance.too_many_vcpus',
      message: 'Instance big has 256 vCPUs, and TCG, the software emulation of QEMU 7.2.22, allows 255.',
      hint: expect.stringContaining('QEMU 9.0 or newer'),
      details: { vcpus: 256, limit: 255, from: 'tcg' },
    });
    expect(refusal({ maxCpus: 1024, accelerator: 'kvm', acceleratorMax: 1024 })).toMatchObject({
      message: 'Instance big has 1024 vCPUs, and machine type q35 of QEMU 7.2.22 allows 288.',
      hint: expect.stringContaining('QEMU 8.1 or newer'),
    });
    expect(refusal({ maxCpus: 1025, accelerator: 'kvm', acceleratorMax: 4096 })).toMatchObject({
      hint: expect.stringContaining('QEMU 9.0 or newer'),
    });
  });

  it('is the kernel’s to raise under KVM', () => {
    expect(refusal({ maxCpus: 2000, accelerator: 'kvm', qemu: recent, acceleratorMax: 1024 })).toMatchObject({
      message: expect.stringContaining('KVM of this host’s kernel allows 1024'),
      hint: expect.stringContaining('CONFIG_KVM_MAX_NR_VCPUS'),
    });
  });

  it('is 255 for a microvm, which has no IOMMU', () => {
    expect(
      refusal({ machine: 'microvm', maxCpus: 256, accelerator: 'kvm', acceleratorMax: 288 }),
    ).toMatchObject({ details: { limit: 255, from: 'iommu' }, hint: expect.stringContaining('q35') });
  });

  it('counts the gaps that a topology leaves', () => {
    const topology = { sockets: 2, cores: 40, threads: 3 };
    expect(refusal({ maxCpus: 240, topology, acceleratorMax: 255 })).toMatchObject({
      message: expect.stringContaining('numbered up to 414'),
      hint: expect.stringContaining('powers of two'),
    });
    expect(refusal({ maxCpus: 240, topology, qemu: recent, acceleratorMax: 4096 })).toBeUndefined();
  });

  it('is tried out only where an accelerator may allow less', () => {
    expect(needsTrial({ maxCpus: 255, accelerator: 'tcg' })).toBe(false);
    expect(needsTrial({ maxCpus: 256, accelerator: 'tcg' })).toBe(true);
    expect(needsTrial({ maxCpus: 64, accelerator: 'kvm' })).toBe(false);
    expect(needsTrial({ maxCpus: 65, accelerator: 'kvm' })).toBe(true);
    expect(
      needsTrial({ maxCpus: 240, topology: { sockets: 2, cores: 40, threads: 3 }, accelerator: 'tcg' }),
    ).toBe(true);
  });

  it('never allows what is above a limit, nor refuses what is below all of them', () => {
    const limit = fc.integer({ min: 1, max: 4096 });
    fc.assert(
      fc.property(limit, limit, limit, fc.constantFrom('kvm', 'tcg'), (maxCpus, q35, of, accelerator) => {
        const qemu = { version: '1', maxCpus: { q35 } };
        const refused = refusal({ maxCpus, accelerator, qemu, acceleratorMax: of }) !== undefined;
        const tooMany = maxCpus > Math.min(q35, of);
        expect(refused).toBe(tooMany);
      }),
    );
  });
});

describe('the ids of interrupt controllers', () => {
  it.each([
    [{ sockets: 1, cores: 255, threads: 1 }, 254],
    [{ sockets: 1, cores: 256, threads: 1 }, 255],
    [{ sockets: 2, cores: 65, threads: 2 }, 385],
    [{ sockets: 4096, cores: 1, threads: 1 }, 4095],
  ])('of %j go up to %d', (topology, highest) => {
    expect(highestApicId(topology)).toBe(highest);
    expect(needsWideApic(topology)).toBe(highest >= 255);
  });

  it('are at least as many as there are processors', () => {
    const count = fc.integer({ min: 1, max: 64 });
    fc.assert(
      fc.property(count, count, fc.integer({ min: 1, max: 16 }), (sockets, cores, threads) => {
        expect(highestApicId({ sockets, cores, threads })).toBeGreaterThanOrEqual(
          sockets * cores * threads - 1,
        );
      }),
    );
  });
});
