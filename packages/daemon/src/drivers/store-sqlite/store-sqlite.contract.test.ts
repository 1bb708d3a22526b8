import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { storeContract } from '@wirt/core/contract/store';
import { openSqliteStore } from './open.ts';
import { silentLogger } from './silent-logger.fixture.ts';

storeContract('store-sqlite', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'wirt-store-'));
  return {
    open: (options) => openSqliteStore({ directory, logger: silentLogger, ...options }),
    destroy: () => rm(directory, { recursive: true, force: true }),
  };
});
