// What every HostInspector must do on the machine it runs on: answers that keep to the contract's schemas, agree with each
// other, and are cheap where every start asks.
import { hostCpuModelsSchema, hostFindingSchema, hostSchema } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { cpuBaseline } from '../domain/cpu-baseline/baseline.ts';
import type { HostInspector } from './host-inspector.ts';

export function hostInspectorContract(name: string, make: () => HostInspector): void {
  describe(`${name} as HostInspector`, () => {
    const inspector = make();
    const signal = (): AbortSignal => AbortSignal.timeout(30_000);

    it('describes the host', async () => {
      const host = hostSchema.parse(await inspector.inspect(signal()));
      expect(host.cpu.threads).toBeGreaterThanOrEqual(host.cpu.cores);
      expect(host.cpu.cores).toBeGreaterThanOrEqual(host.cpu.sockets);
      expect(host.memory.totalMib).toBeGreaterThan(host.memory.availableMib);
      expect(host.kvm.why).not.toBe('');
      expect(host.accelerator).toBe(host.kvm.usable ? 'kvm' : 'tcg');
    });

    it('compares it with best practice, each topic once', async () => {
      const findings = hostFindingSchema.array().parse(await inspector.check(signal()));
      expect(findings.length).toBeGreaterThan(10);
      expect(new Set(findings.map(({ id }) => id)).size).toBe(findings.length);
      for (const { id, level, fix } of findings) expect(fix !== undefined, id).toBe(level !== 'ok');
    });

    it('tells memory as it is now', async () => {
      const { totalMib, availableMib } = await inspector.memory();
      expect(totalMib).toBe((await inspector.inspect(signal())).memory.totalMib);
      expect(availableMib).toBeGreaterThan(0);
    });

    it('takes the accelerator that it shows, and TCG whenever asked', async () => {
      const host = await inspector.inspect(signal());
      expect(await inspector.accelerator('auto')).toBe(host.accelerator);
      expect(await inspector.accelerator('tcg')).toBe('tcg');
    });

    it('takes KVM when asked where it opens, and else says why not', async () => {
      const { kvm } = await inspector.inspect(signal());
      const answer = await inspector.accelerator('kvm').catch((error: unknown) => error);
      if (answer === 'kvm') expect(kvm.opens).toBe(true);
      else
        expect(answer).toMatchObject({ code: 'host.kvm_unusable', hint: expect.stringContaining('check') });
      if (kvm.usable) expect(answer).toBe('kvm');
    });

    it('knows one boot from another', async () => {
      expect(await inspector.bootId()).toMatch(/^[0-9a-f-]{36}$/);
      expect((await inspector.inspect(signal())).bootId).toBe(await inspector.bootId());
    });

    it('knows how many vCPUs TCG takes, within what the machine type does', async () => {
      const { maxCpus } = await inspector.requireQemu(signal());
      const taken = await inspector.acceleratorVcpus({ machine: 'q35', accelerator: 'tcg' }, signal());
      expect(taken).toBeGreaterThanOrEqual(255);
      expect(taken).toBeLessThanOrEqual(maxCpus['q35'] ?? 0);
    });

    it('tells the processors that guests can have, with nothing in a model that is called there and is not', async () => {
      const host = hostCpuModelsSchema.parse(await inspector.cpuModels('tcg', signal()));
      expect(host).toMatchObject({ accelerator: 'tcg', features: expect.arrayContaining(['sse2']) });
      const all = new Set([...host.features, ...host.unmigratable]);
      const names = host.models.map(({ name }) => name);
      expect(names.length).toBeGreaterThan(10);
      expect(names).toEqual(expect.arrayContaining(Object.values(host.aliases)));
      for (const { name, features, unavailable } of host.models)
        expect(
          features.filter((one) => !all.has(one) && !unavailable.includes(one)),
          name,
        ).toEqual([]);
      // One model of every host is the baseline of that host alone.
      const { features } = cpuBaseline([host]);
      expect(host.features).toEqual(expect.arrayContaining(features));
    });

    it('gives up when told to', async () => {
      await expect(inspector.inspect(AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough');
    });
  });
}
