import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type HypervisorHarness, hypervisorContract } from '@wirt/core/contract/hypervisor';
import { createQemuHarness } from './harness.fixture.ts';

async function createHarness(): Promise<HypervisorHarness> {
  const harness = await createQemuHarness();
  const { directory } = harness;
  return {
    ...harness,
    refusedPlan: () => ({
      plan: { ...harness.plan(), cpuModel: 'no-such-model' },
      words: /no-such-model/,
    }),
    filesOf: async (id) =>
      (await readdir(directory, { recursive: true })).filter((path) => path.includes(id)),
    emptyRunDirectory: (id) => rm(join(directory, 'run', 'instances', id), { recursive: true }),
  };
}

hypervisorContract('QEMU', createHarness);
