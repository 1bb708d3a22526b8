import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createAioProbe } from './aio.ts';
import { silentLogger as logger } from './silent-logger.fixture.ts';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'wirt-aio-'));
  // The attempt is made as a user who owns nothing.
  await chmod(directory, 0o755);
});
afterEach(() => rm(directory, { recursive: true }));

/** A QEMU that refuses these kinds, and counts how often it is asked. */
async function without(...refused: string[]): Promise<{ qemuBinary: string; log: string }> {
  const [qemuBinary, log] = [join(directory, 'qemu'), join(directory, 'log')];
  await writeFile(log, '');
  await chmod(log, 0o666);
  const cases = refused.map(
    (aio) => `*'"aio":"${aio}"'*) echo "qemu: aio=${aio} is not there" >&2; exit 1;;`,
  );
  await writeFile(qemuBinary, `#!/bin/sh\necho asked >> ${log}\ncase "$*" in ${cases.join(' ')} esac\n`);
  await chmod(qemuBinary, 0o755);
  return { qemuBinary, log };
}

describe('asynchronous I/O', () => {
  it('is io_uring where the kernel lets everybody have it', async () => {
    const disabled = await readFile('/proc/sys/kernel/io_uring_disabled', 'latin1').catch(() => '0');
    const choice = await createAioProbe({ qemuBinary: 'qemu-system-x86_64', logger }).choose();
    expect(choice.direct).toBe(disabled.trim() === '0' ? 'io_uring' : 'native');
  });

  it('is the older native kind for direct I/O where there is no io_uring', async () => {
    const probe = createAioProbe({ ...(await without('io_uring')), logger });
    expect(await probe.choose()).toEqual({ direct: 'native', cached: 'threads' });
  });

  it('is threads where there is neither', async () => {
    const probe = createAioProbe({ ...(await without('io_uring', 'native')), logger });
    expect(await probe.choose()).toEqual({ direct: 'threads', cached: 'threads' });
  });

  it('is threads where QEMU cannot be asked', async () => {
    const probe = createAioProbe({ qemuBinary: join(directory, 'missing'), logger });
    expect(await probe.choose()).toEqual({ direct: 'threads', cached: 'threads' });
  });

  it('is tried once', async () => {
    const { qemuBinary, log } = await without();
    const probe = createAioProbe({ qemuBinary, logger });
    await Promise.all([probe.choose(), probe.choose()]);
    await probe.choose();
    expect(await readFile(log, 'utf8')).toBe('asked\n');
  });
});
