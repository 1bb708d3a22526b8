import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { usageHistoryContract } from '@wirt/core/contract/usage-history';
import { keepingLogger } from './keeping-logger.fixture.ts';
import { createUsageRings } from './usage-rings.ts';

usageHistoryContract('usage-rings', async () => {
  const stateDirectory = await mkdtemp(join(tmpdir(), 'wirt-usage-'));
  const directory = join(stateDirectory, 'usage');
  return {
    open: () => createUsageRings({ stateDirectory, logger: keepingLogger() }),
    bytes: async () => {
      let bytes = 0;
      for (const name of await readdir(directory)) bytes += (await stat(join(directory, name))).size;
      return bytes;
    },
    destroy: () => rm(stateDirectory, { recursive: true, force: true }),
  };
});
