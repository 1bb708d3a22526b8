import { describe, expect, it } from 'vitest';
import { definitionsOf, expansions, modelsOf } from './cpu-answers.ts';
import { limitSaid } from './qemu-trial.ts';

describe('how many vCPUs an accelerator takes', () => {
  it('is what KVM says', () => {
    const said =
      'qemu-system-x86_64: -accel kvm: warning: Number of hotpluggable cpus requested (4096) exceeds the recommended cpus supported by KVM (2)\n' +
      'Number of hotpluggable cpus requested (4096) exceeds the maximum cpus supported by KVM (1024)\n';
    expect(limitSaid(said, 4096)).toBe(1024);
  });

  it('is 255 where numbers of 8 bits are all there is', () => {
    const said =
      'qemu-system-x86_64: current -smp configuration requires kernel irqchip and X2APIC API support.';
    expect(limitSaid(said, 288)).toBe(255);
    expect(limitSaid('', 64)).toBe(64);
  });
});

describe('what QEMU tells of its CPU models', () => {
  const props = (features: object) => ({
    model: { name: 'base', props: { vendor: 'AuthenticAMD', ...features } },
  });
  const answers = new Map<string, unknown>([
    [
      'definitions',
      [
        { name: 'max', 'unavailable-features': [] },
        { name: 'EPYC-v1', 'unavailable-features': ['avx2'] },
        { name: 'EPYC', 'alias-of': 'EPYC-v1', 'unavailable-features': ['avx2'] },
      ],
    ],
    ['own', props({ sse: true, avx2: false, lmce: true, family: 15 })],
    ['own, unmigratable too', props({ sse: true, invtsc: true })],
    ['model EPYC-v1', props({ sse: true, avx2: true })],
  ]);

  it('is asked of each model once, and read into features by name', () => {
    const definitions = definitionsOf(answers);
    expect(expansions('max', definitions)).toHaveLength(3);
    expect(modelsOf(definitions, answers)).toEqual({
      vendor: 'AuthenticAMD',
      features: ['sse'],
      unmigratable: ['invtsc'],
      models: [{ name: 'EPYC-v1', vendor: 'AuthenticAMD', features: ['avx2', 'sse'], unavailable: ['avx2'] }],
      aliases: { EPYC: 'EPYC-v1' },
    });
  });

  it('is an error when it is no answer', () => {
    expect(() => definitionsOf(new Map())).toThrow('did not answer');
    expect(() => modelsOf([], new Map())).toThrow('did not answer');
  });
});
