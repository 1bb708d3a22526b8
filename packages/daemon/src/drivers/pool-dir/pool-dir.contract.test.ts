// The suite of VolumePool on directories. Root sees all of it; without root nobody becomes another user and nothing is mounted.
import { volumePoolContract } from '@wirt/core/contract/volume-pool';
import { describe } from 'vitest';
import { createHarness, toolMissing } from './harness.fixture.ts';

describe.skipIf(toolMissing)(`pool-dir${toolMissing ? ` (skipped: ${toolMissing})` : ''}`, () => {
  volumePoolContract('pool-dir', createHarness);
});
