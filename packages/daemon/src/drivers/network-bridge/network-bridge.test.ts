import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { createBridgeNetwork } from './network-bridge.ts';

let directory = '';
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(directory, { recursive: true, force: true });
});

it('reads rates from the kernel once for all who ask at the same moment', async () => {
  directory = await mkdtemp(join(tmpdir(), 'wirt-net-'));
  const asked = join(directory, 'asked');
  // A kernel cannot be asked how often it was.
  await writeFile(join(directory, 'tc'), `#!/bin/sh\necho "$*" >>'${asked}'\necho '[]'\n`, { mode: 0o755 });
  vi.stubEnv('PATH', `${directory}:${process.env['PATH']}`);
  const log = (): void => undefined;
  const driver = createBridgeNetwork({
    tag: 'main',
    runDirectory: directory,
    stateDirectory: directory,
    logger: { debug: log, info: log, warn: log, error: log },
  });
  const ask = async () => await driver.limits(AbortSignal.timeout(5_000));
  await Promise.all(Array.from({ length: 20 }, ask));
  expect(await readFile(asked, 'utf8')).toBe('-s -j qdisc show\n');
  await ask();
  expect(await readFile(asked, 'utf8')).toBe('-s -j qdisc show\n'.repeat(2));
});
