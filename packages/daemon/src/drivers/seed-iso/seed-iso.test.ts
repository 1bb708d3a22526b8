import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createSeedIso } from './seed-iso.ts';

const files = { 'user-data': '#cloud-config\n{}\n', 'meta-data': '{}', 'vendor-data': 'of the secret' };
let stateDirectory: string;
const seedsIn = (): Promise<string[]> => readdir(join(stateDirectory, 'seeds'));

beforeEach(async () => {
  stateDirectory = await mkdtemp(join(tmpdir(), 'wirt-seeds-'));
});

afterEach(async () => {
  await rm(stateDirectory, { recursive: true, force: true });
});

/** A program in genisoimage's place. */
async function stub(script: string): Promise<string> {
  const path = join(stateDirectory, 'stub');
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
  return path;
}

it('says what to install where genisoimage is missing, and leaves nothing', async () => {
  const seeds = createSeedIso({ stateDirectory, genisoimage: 'no-such-genisoimage' });
  await expect(seeds.write('one', files)).rejects.toMatchObject({
    code: 'host.tool_missing',
    message: expect.stringContaining('no-such-genisoimage'),
    hint: expect.stringContaining('apt-get install genisoimage'),
  });
  expect(await seedsIn()).toEqual([]);
});

it('says what genisoimage said when it fails, and leaves nothing', async () => {
  const genisoimage = await stub('echo starting >&2; echo "cannot go on" >&2; exit 3');
  const seeds = createSeedIso({ stateDirectory, genisoimage });
  const error = await seeds.write('one', files).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({
    code: 'internal',
    cause: { message: expect.stringContaining('cannot go on') },
  });
  expect(await seedsIn()).toEqual([]);
});

it('shows the files to nobody else while it works, and none of them in its arguments', async () => {
  // The last argument is the directory; the "image" says what there is.
  const genisoimage = await stub(
    'for last; do :; done; echo "args $*"; stat -c "%a %n" "$last" "$last"/*; stat -c "parent %a" "$last/.."',
  );
  const seeds = createSeedIso({ stateDirectory, genisoimage });
  const seen = await readFile(await seeds.write('one', files), 'utf8');
  expect(seen).not.toContain('secret');
  expect(seen.match(/^\d{3} /gm)).toEqual(['700 ', '600 ', '600 ', '600 ']);
  expect(seen).toContain('parent 711');
  expect(await seedsIn()).toEqual(['one.iso']);
});

it('lists what a daemon left that died in the middle of writing, so that it is removed', async () => {
  const seeds = createSeedIso({ stateDirectory });
  await mkdir(join(stateDirectory, 'seeds', '.build-one'), { recursive: true });
  await writeFile(join(stateDirectory, 'seeds', '.build-one', 'user-data'), 'half');
  await writeFile(join(stateDirectory, 'seeds', '.two.iso.0123456789ab.tmp'), 'half');
  await writeFile(join(stateDirectory, 'seeds', 'README'), 'not ours');
  expect(await seeds.list()).toEqual(['one', 'two']);
  await seeds.remove('one');
  await seeds.remove('two');
  expect(await seedsIn()).toEqual(['README']);
});

it('names the path when the state directory cannot be written', async () => {
  await writeFile(join(stateDirectory, 'seeds'), 'in the way');
  await expect(createSeedIso({ stateDirectory }).write('one', files)).rejects.toMatchObject({
    message: expect.stringContaining(stateDirectory),
  });
  expect((await stat(join(stateDirectory, 'seeds'))).isFile()).toBe(true);
});
