import { access, chown, mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createOutputRecords } from './output-records.ts';
import { createOutputs, type Outputs } from './outputs.ts';

const quiet = (): void => {};
const logger = { debug: quiet, info: quiet, warn: quiet, error: quiet };

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'wirt-outputs-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const at = (path: string): string => join(directory, path);
const isThere = (path: string): Promise<boolean> =>
  access(at(path)).then(
    () => true,
    () => false,
  );
/** Each is what a daemon has; the next one is the daemon started again. */
const daemon = (): Outputs => createOutputs({ recordDirectory: at('records'), logger });

/** A daemon that dies while it writes. */
async function dieWriting(path: string): Promise<void> {
  const { handle } = await daemon().create(at(path));
  await handle.writeFile('half');
  await handle.close();
}
async function write(outputs: Outputs, path: string): Promise<void> {
  await using output = await outputs.create(at(path));
  await output.handle.writeFile('whole');
  await output.finish();
}

describe('what exports write', () => {
  it('is there when it was finished, and gone when it was not', async () => {
    await write(daemon(), 'whole');
    expect(await readFile(at('whole'), 'utf8')).toBe('whole');
    {
      await using _output = await daemon().create(at('given-up'));
    }
    expect(await isThere('given-up')).toBe(false);
  });

  it('is removed by the next daemon when this one died, and then can be written again', async () => {
    await dieWriting('half');
    await write(daemon(), 'half');
    expect(await readFile(at('half'), 'utf8')).toBe('whole');
    await daemon().recover();
    expect(await isThere('half')).toBe(true);
  });

  it('is removed with its folder when one of its files was not finished', async () => {
    await daemon().makeDirectory(at('out'));
    await write(daemon(), 'out/first');
    await dieWriting('out/second');
    await daemon().makeDirectory(at('out'));
    expect(await isThere('out/first')).toBe(false);
  });

  it('stays when somebody has put another file in its place', async () => {
    await dieWriting('half');
    // The first is not removed before, so that the second has another inode.
    await writeFile(at('theirs'), 'theirs');
    await rm(at('half'));
    await writeFile(at('half'), 'theirs');
    await mkdir(at('theirs-too'));
    await daemon().recover();
    await daemon().remove(at('theirs'));
    await daemon().remove(at('theirs-too'));
    await expect(daemon().create(at('theirs'))).rejects.toMatchObject({ code: 'export.target_exists' });
    expect([await isThere('theirs'), await isThere('theirs-too')]).toEqual([true, true]);
  });

  it.skipIf(process.geteuid?.() !== 0)(
    'is given to whom the folder belongs, and nothing that was put in its place meanwhile (needs root)',
    async () => {
      await mkdir(at('home/victim'), { recursive: true });
      await chown(at('home'), 1234, 1234);
      // The moment between its making and its giving away cannot be hit on demand.
      const real = createOutputRecords(at('records'));
      const keep: typeof real.keep = async (made) => {
        await rename(made.path, at('home/ours'));
        await rename(at('home/victim'), made.path);
        await real.keep(made);
      };
      const records = { ...real, keep };
      await createOutputs({ recordDirectory: at('records'), logger, records }).makeDirectory(at('home/out'));
      expect((await stat(at('home/out'))).uid).toBe(0);
      expect((await stat(at('home/ours'))).uid).toBe(1234);
    },
  );

  it('is found whatever a record holds', async () => {
    await dieWriting('half');
    await writeFile(at('records/0.json'), '{"path":');
    await daemon().recover();
    expect(await isThere('half')).toBe(false);
  });
});
