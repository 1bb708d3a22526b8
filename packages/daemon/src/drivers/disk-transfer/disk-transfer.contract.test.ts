import { diskTransferContract } from '@wirt/core/contract/disk-transfer';
import { describe } from 'vitest';
import { createHarness, toolMissing } from './harness.fixture.ts';

// Skipped, with the reason in its name, where a program that it runs is not installed.
describe.skipIf(toolMissing)(toolMissing === undefined ? 'files' : `files (skipped: ${toolMissing})`, () => {
  diskTransferContract('disk-transfer', createHarness);
});
