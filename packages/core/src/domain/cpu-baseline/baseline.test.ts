import type { HostCpuModels } from '@wirt/api';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cpuBaseline } from './baseline.ts';
import { requireCpuModel } from './require-model.ts';

const definitions = {
  'Old-v1': ['sse'],
  'New-v1': ['sse', 'avx', 'aes'],
  'Newest-v1': ['sse', 'avx', 'aes', 'avx512f', 'svm'],
};
const allFeatures = [...new Set(Object.values(definitions).flat()), 'umip', 'vmx-pml'];

function hostWith(features: readonly string[], change: Partial<HostCpuModels> = {}): HostCpuModels {
  return {
    architecture: 'x86_64',
    accelerator: 'kvm',
    qemuVersion: '7.2.22',
    vendor: 'AuthenticAMD',
    features: [...features],
    unmigratable: ['invtsc'],
    models: Object.entries(definitions).map(([name, own]) => ({
      name,
      vendor: 'AuthenticAMD',
      features: own,
      unavailable: own.filter((feature) => !features.includes(feature)),
    })),
    aliases: { New: 'New-v1' },
    ...change,
  };
}

describe('the baseline of several hosts', () => {
  it('is the nearest model, with what all hosts have beyond it', () => {
    const hosts = [
      hostWith(['sse', 'avx', 'aes', 'umip']),
      hostWith(['sse', 'avx', 'aes', 'umip', 'avx512f']),
    ];
    expect(cpuBaseline(hosts)).toEqual({
      cpuModel: 'New-v1,+umip',
      model: 'New-v1',
      added: ['umip'],
      removed: [],
      features: ['aes', 'avx', 'sse', 'umip'],
      lost: [[], ['avx512f']],
    });
  });

  it('leaves out of the model what a host lacks', () => {
    expect(cpuBaseline([hostWith(['sse', 'avx'])]).cpuModel).toBe('New-v1,-aes');
  });

  it('leaves virtualization within the guest out', () => {
    const { features, lost } = cpuBaseline([hostWith([...allFeatures])]);
    expect(features).not.toContain('svm');
    expect(lost).toEqual([['svm', 'vmx-pml']]);
  });

  it('knows a model that another QEMU means otherwise for none in common', () => {
    const features = ['sse', 'avx', 'aes'];
    const other = hostWith(features);
    const models = other.models.map((model) =>
      model.name === 'New-v1' ? { ...model, features: ['sse', 'avx'] } : model,
    );
    expect(cpuBaseline([hostWith(features), { ...other, models }]).model).not.toBe('New-v1');
    expect(() => cpuBaseline([hostWith(features), { ...other, models: [] }])).toThrow(
      'no CPU model in common',
    );
  });

  it.each([
    [{ vendor: 'GenuineIntel' }, 'vendor'],
    [{ accelerator: 'tcg' }, 'accelerator'],
    [{ architecture: 'aarch64' }, 'architecture'],
  ] as const)('is refused for hosts between which no guest migrates: %j', (change, what) => {
    expect(() => cpuBaseline([hostWith(['sse']), hostWith(['sse'], change)])).toThrow(`their ${what} is`);
  });

  const anyHost = fc.subarray(allFeatures).map((features) => hostWith(features));

  it('can be had on each of them', () => {
    fc.assert(
      fc.property(fc.array(anyHost, { minLength: 1, maxLength: 5 }), (hosts) => {
        const { cpuModel, features } = cpuBaseline(hosts);
        for (const host of hosts) {
          expect(host.features).toEqual(expect.arrayContaining(features));
          requireCpuModel({ name: 'web', cpuModel, host });
        }
      }),
    );
  });

  it('only shrinks with more hosts, and is the same in any order', () => {
    fc.assert(
      fc.property(fc.array(anyHost, { minLength: 1, maxLength: 4 }), anyHost, (hosts, another) => {
        const before = cpuBaseline(hosts).features;
        expect(before).toEqual(expect.arrayContaining(cpuBaseline([...hosts, another]).features));
        expect(cpuBaseline(hosts.toReversed()).cpuModel).toBe(cpuBaseline(hosts).cpuModel);
      }),
    );
  });
});

describe('a CPU model that a guest names', () => {
  const host = hostWith(['sse', 'avx']);
  const refusal = (cpuModel: string, on = host): unknown => {
    try {
      requireCpuModel({ name: 'web', cpuModel, host: on });
    } catch (error) {
      return error;
    }
    return undefined;
  };

  it('is one that QEMU has, by whichever name', () => {
    for (const model of ['host', 'max', 'New', 'New-v1', 'New-v1,-aes', 'Old-v1,+avx', 'host,+invtsc'])
      expect(refusal(model), model).toBeUndefined();
    expect(refusal('Nwe')).toMatchObject({
      code: 'host.cpu_model_unusable',
      message: expect.stringContaining('Nwe'),
      hint: expect.stringContaining('New'),
    });
  });

  it('is refused with the features that guests cannot have, once features are named', () => {
    expect(refusal('New-v1,+avx')).toMatchObject({ details: { missing: ['aes'] } });
    expect(refusal('Old-v1,+avx512f')).toMatchObject({ message: expect.stringContaining('avx512f') });
    expect(refusal('Old-v1,-axv')).toMatchObject({ message: expect.stringContaining('axv') });
  });

  it('is not the host’s own under TCG', () => {
    const tcg = hostWith(['sse'], { accelerator: 'tcg' });
    expect(refusal('host', tcg)).toMatchObject({ hint: expect.stringContaining('max') });
  });
});
