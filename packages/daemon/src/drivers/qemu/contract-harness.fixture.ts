// For tests: what the contract suites of a hypervisor ask for, beside the harness itself.
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { makeDisks } from './disk-harness.fixture.ts';
import { createQemuHarness, guestIdentity } from './harness.fixture.ts';

/** Fits the suites' `HypervisorHarness` and `HypervisorDisksHarness`. */
export async function createQemuContractHarness() {
  const harness = await createQemuHarness();
  const { directory } = harness;
  const disks = makeDisks(directory, guestIdentity);
  return {
    ...harness,
    disks,
    async [Symbol.asyncDispose]() {
      await harness.end();
      await disks[Symbol.asyncDispose]();
      await harness[Symbol.asyncDispose]();
    },
    refusedPlan: () => ({
      plan: { ...harness.plan(), cpuModel: 'no-such-model' },
      words: /no-such-model/,
    }),
    filesOf: async (id: string) =>
      (await readdir(directory, { recursive: true })).filter((path) => path.includes(id)),
    emptyRunDirectory: (id: string) => rm(join(directory, 'run', 'instances', id), { recursive: true }),
  };
}
