import { hypervisorNicsContract } from '@wirt/core/contract/hypervisor-nics';
import { createQemuContractHarness } from './contract-harness.fixture.ts';
import { guestIdentity, isRoot } from './harness.fixture.ts';
import { makeTaps } from './taps.fixture.ts';

hypervisorNicsContract('QEMU', async () => {
  const harness = await createQemuContractHarness();
  const taps = makeTaps(guestIdentity);
  return {
    ...harness,
    taps: isRoot ? taps : undefined,
    async [Symbol.asyncDispose]() {
      await harness[Symbol.asyncDispose]();
      await taps[Symbol.asyncDispose]();
    },
  };
});
