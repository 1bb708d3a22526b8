// The micro image for tests: built once by a real wirtd into a template, of which every test daemon gets a copy.

import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { cp, mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createClient } from '@wirt/api/client';
import { readLog } from './log.ts';
import { unixFetch } from './unix-fetch.ts';

const root = join(import.meta.dirname, '../../..');
const run = promisify(execFile);

export const cacheDirectory = process.env['WIRT_TEST_CACHE'] ?? join(root, '.wirt/test-cache');

/** The environment without what a person has set for a wirtd of their own. */
export function plainEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('WIRT_')));
}

/** Changes when what makes the image, or the store that records it, changes. */
async function fingerprint(): Promise<string> {
  const hash = createHash('sha256').update(await readFile(import.meta.filename));
  for (const folder of [
    'packages/daemon/src/drivers/image-micro',
    'packages/daemon/src/drivers/store-sqlite',
    'packages/api/src/schemas',
  ]) {
    for (const name of (await readdir(join(root, folder))).sort())
      hash.update(await readFile(join(root, folder, name)));
  }
  return hash.digest('hex').slice(0, 12);
}

/** A state directory with the micro image and nothing else. Built when it is not there yet. */
export async function template(): Promise<string> {
  const wanted = join(cacheDirectory, `state-${await fingerprint()}`);
  if (
    await stat(wanted).then(
      () => true,
      () => false,
    )
  )
    return wanted;
  await mkdir(cacheDirectory, { recursive: true });
  const building = join(cacheDirectory, 'building');
  await rm(building, { recursive: true, force: true });
  await mkdir(building, { recursive: true });
  const socket = join(building, 'run/wirtd.sock');
  const daemon = spawn(
    join(root, 'bin/wirtd'),
    ['--state-dir', join(building, 'state'), '--run-dir', join(building, 'run')],
    {
      stdio: ['ignore', 'inherit', 'pipe'],
      env: plainEnvironment(),
    },
  );
  try {
    await readLog(daemon.stderr).find(({ event }) => event === 'daemon.ready', 'daemon.ready');
    const client = createClient({ fetch: unixFetch(socket) });
    await client.call('POST /v1/images/build', {
      body: { recipe: 'micro' },
      query: { wait: 'done', waitSeconds: 600 },
    });
    // Its record has the path of this state directory: each daemon makes its own.
    await client.call('DELETE /v1/pools/{pool}', { params: { pool: 'default' } });
  } finally {
    const exit = once(daemon, 'exit');
    daemon.kill('SIGTERM');
    await exit;
  }
  await rename(join(building, 'state'), wanted);
  return wanted;
}

/** Fills the state directory from the template. Files of images are linked, since nothing ever changes them. */
export async function fromTemplate(stateDirectory: string, owner?: number): Promise<void> {
  const source = await template();
  // As wirtd makes it: guests pass through, and list nothing.
  await mkdir(stateDirectory, { recursive: true, mode: 0o711 });
  await cp(source, stateDirectory, {
    recursive: true,
    filter: (path) => !path.startsWith(join(source, 'images')),
  });
  const images = join(stateDirectory, 'images');
  // A link would carry the new owner back into the template; another file system cannot be linked to.
  const copied =
    owner === undefined &&
    (await run('cp', ['-al', join(source, 'images'), images]).then(
      () => true,
      () => false,
    ));
  if (!copied) await run('cp', ['-aT', join(source, 'images'), images]);
  if (owner !== undefined) await run('chown', ['-R', `${owner}:${owner}`, stateDirectory]);
}
