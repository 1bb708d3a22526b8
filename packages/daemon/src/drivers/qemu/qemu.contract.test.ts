import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { hypervisorContract } from '@wirt/core/contract/hypervisor';
import { type HypervisorDisksHarness, hypervisorDisksContract } from '@wirt/core/contract/hypervisor-disks';
import { makeDisks } from './disk-harness.fixture.ts';
import { createQemuHarness, guestIdentity } from './harness.fixture.ts';

async function createHarness(): Promise<HypervisorDisksHarness> {
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
    filesOf: async (id) =>
      (await readdir(directory, { recursive: true })).filter((path) => path.includes(id)),
    emptyRunDirectory: (id) => rm(join(directory, 'run', 'instances', id), { recursive: true }),
  };
}

hypervisorContract('QEMU', createHarness);
hypervisorDisksContract('QEMU', createHarness);
