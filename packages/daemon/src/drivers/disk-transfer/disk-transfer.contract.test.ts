import { diskTransferContract } from '@wirt/core/contract/disk-transfer';
import { describe } from 'vitest';
import { createHarness, toolMissing } from './harness.fixture.ts';

describe.skipIf(toolMissing)(toolMissing === undefined ? 'files' : `files (skipped: ${toolMissing})`, () => {
  diskTransferContract('disk-transfer', createHarness);
});
