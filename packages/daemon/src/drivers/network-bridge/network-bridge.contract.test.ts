// The driver against the real kernel, in network namespaces that are made here.
import { networkContract } from '@wirt/core/contract/network';
import { networkLimitsContract } from '@wirt/core/contract/network-limits';
import { describe } from 'vitest';
import { isRoot } from '../../platform/netns.fixture.ts';
import { createTestHost } from './host.fixture.ts';

describe.skipIf(!isRoot)('bridges and taps (needs root)', () => {
  networkContract('network-bridge', createTestHost);
  networkLimitsContract('network-bridge', createTestHost);
});
