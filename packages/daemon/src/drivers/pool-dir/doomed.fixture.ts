// For tests: a daemon that copies or pulls as it is told, and dies as soon as the layer has begun to grow.
import { statSync } from 'node:fs';
import type { CopyWork } from '@wirt/core';
import { createLoans } from '../../platform/lend.ts';
import { type DoomedWork, testConfinement } from './harness.fixture.ts';
import { createDirPoolDriver } from './pool-dir.ts';
import { silentLogger } from './silent-logger.fixture.ts';

const BEGUN_BYTES = 8 * 1024 ** 2;
const doomed: DoomedWork = JSON.parse(process.argv[2] ?? '');
const { owner, lent, pool: place, work, target } = doomed;
const loans = createLoans({ directory: lent, logger: silentLogger });

const copying: CopyWork = {
  confinement: testConfinement,
  signal: AbortSignal.timeout(45_000),
  onProgress: () => {},
};
const pool = await createDirPoolDriver({ owner, loans, logger: silentLogger }).open(place);
const allocated = (): number => (statSync(target, { throwIfNoEntry: false })?.blocks ?? 0) * 512;
const before = work.kind === 'copy' ? 0 : allocated();
setInterval(() => {
  if (allocated() - before > BEGUN_BYTES) process.kill(process.pid, 'SIGKILL');
}, 1);

if (work.kind === 'copy') await pool.copy(work.layer, work.source, copying);
else await pool.pull(work.chain, work.base, copying);
process.exit(0);
