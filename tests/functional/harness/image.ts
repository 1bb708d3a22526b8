// Images for tests: each built once by a real wirtd into a template, of which every test daemon gets a copy.

import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createClient } from '@wirt/api/client';
import { readLog } from './log.ts';
import { unixFetch } from './unix-fetch.ts';
import { wirt } from './wirt.ts';

const root = join(import.meta.dirname, '../../..');
const run = promisify(execFile);

const cacheDirectory = process.env['WIRT_TEST_CACHE'] ?? join(root, '.wirt/test-cache');

/** What a daemon keeps of downloads for the next build; large, and of no use to a test. */
const downloads = 'image-build/debian-12-packages';

/** By recipe, the driver that builds the image. */
const drivers = { micro: 'image-micro', 'debian-12': 'image-debian' } as const;
export type Recipe = keyof typeof drivers;

/** Packages are fetched from a mirror that may be slow, and a loaded machine takes long to install them. */
const buildMs = 30 * 60_000;

/** The environment without what a person has set for a wirtd of their own. */
export function plainEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('WIRT_')));
}

/** Changes when what makes the image, or the store that records it, changes. */
async function fingerprint(recipe: Recipe): Promise<string> {
  const hash = createHash('sha256').update(await readFile(import.meta.filename));
  for (const folder of [
    `packages/daemon/src/drivers/${drivers[recipe]}`,
    'packages/daemon/src/drivers/store-sqlite',
    'packages/api/src/schemas',
  ]) {
    const names = (await readdir(join(root, folder))).filter((name) => /(?<!\.test)\.ts$/.test(name));
    for (const name of names.sort()) hash.update(await readFile(join(root, folder, name)));
  }
  return hash.digest('hex').slice(0, 12);
}

function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** A state directory with the image and nothing else. Built when it is not there yet; then those of older sources go. */
async function template(recipe: Recipe): Promise<string> {
  const prefix = `state-${recipe}-`;
  const wanted = join(cacheDirectory, prefix + (await fingerprint(recipe)));
  if (await isThere(wanted)) return wanted;
  await mkdir(cacheDirectory, { recursive: true });
  const older = (await readdir(cacheDirectory)).filter((name) => name.startsWith(prefix));
  const building = await buildingDirectory();
  try {
    const state = join(building, 'state');
    const fetched = older.map((name) => join(cacheDirectory, name, downloads));
    for (const folder of fetched) {
      if (await isThere(folder)) {
        await mkdir(join(state, downloads), { recursive: true });
        await run('cp', ['-aln', `${folder}/.`, join(state, downloads)]);
      }
    }
    await build(recipe, state);
    await rename(state, wanted).catch(async (error: unknown) => {
      // Another run of the tests was quicker.
      if (!(await isThere(wanted))) throw error;
    });
    for (const name of older) await rm(join(cacheDirectory, name), { recursive: true, force: true });
  } finally {
    await rm(building, { recursive: true, force: true });
  }
  return wanted;
}

/** Beside the templates. What tests that were killed had begun goes first. */
async function buildingDirectory(): Promise<string> {
  for (const name of await readdir(cacheDirectory)) {
    const pid = /^building-(\d+)-/.exec(name)?.[1];
    if (pid !== undefined && !(await isThere(`/proc/${pid}`)))
      await rm(join(cacheDirectory, name), { recursive: true, force: true });
  }
  const directory = await mkdtemp(join(cacheDirectory, `building-${process.pid}-`));
  // The user that apt fetches as gets through.
  await chmod(directory, 0o711);
  return directory;
}

/** As a person does it, by the command. */
async function build(recipe: Recipe, state: string): Promise<void> {
  // Not beside the state: a clone may lie deeper than the 107 bytes of a socket's path allow.
  const runDirectory = await mkdtemp(join(tmpdir(), 'wirt-build-'));
  const socket = join(runDirectory, 'wirtd.sock');
  const daemon = spawn(join(root, 'bin/wirtd'), ['--state-dir', state, '--run-dir', runDirectory], {
    stdio: ['ignore', 'inherit', 'pipe'],
    env: plainEnvironment(),
  });
  try {
    await readLog(daemon.stderr).find(({ event }) => event === 'daemon.ready', 'daemon.ready');
    const { exitCode, stderr } = await wirt(socket, ['image', 'build', recipe], '', buildMs);
    if (exitCode !== 0) throw new Error(`wirt image build ${recipe} ended with ${exitCode}: ${stderr}`);
    // Its record has the path of this state directory: each daemon makes its own.
    const client = createClient({ fetch: unixFetch(socket) });
    await client.call('DELETE /v1/pools/{pool}', { params: { pool: 'default' } });
  } finally {
    const exit = once(daemon, 'exit');
    daemon.kill('SIGTERM');
    await exit;
    await rm(runDirectory, { recursive: true, force: true });
  }
}

/** Fills the state directory from the template. Files of images are linked, since nothing ever changes them. */
export async function fromTemplate(
  stateDirectory: string,
  { image = 'micro', owner }: { readonly image?: Recipe; readonly owner?: number } = {},
): Promise<void> {
  const source = await template(image);
  // As wirtd makes it: guests pass through, and list nothing.
  await mkdir(stateDirectory, { recursive: true, mode: 0o711 });
  await cp(source, stateDirectory, {
    recursive: true,
    filter: (path) => path !== join(source, 'images') && path !== join(source, downloads),
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
