import { hypervisorTuningContract } from '@wirt/core/contract/hypervisor-tuning';
import { createQemuContractHarness } from './contract-harness.fixture.ts';
import { linuxKernel } from './linux-guest.fixture.ts';

hypervisorTuningContract('QEMU', async () => {
  const harness = await createQemuContractHarness();
  return { ...harness, linux: await linuxKernel(harness.directory) };
});
