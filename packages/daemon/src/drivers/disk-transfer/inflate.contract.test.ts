// Compressed disks, as the real programs unpack them: whole, or refused.
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createHarness, type Harness, toolMissing, workOf } from './harness.fixture.ts';
import { openRegularFile } from './regular-file.ts';
import { compressionOf, type Packed, unpack } from './unpack.ts';

const run = promisify(execFile);
const MIB = 1024 * 1024;
const content = Buffer.from(Array.from({ length: MIB }, (_no, at) => (at * at) % 251));
const skippable = Buffer.from('582a4d1804000000deadbeef', 'hex');

describe.skipIf(toolMissing)(`compressed disks${toolMissing ? ` (skipped: ${toolMissing})` : ''}`, () => {
  let under: Harness;
  const at = (file: string): string => join(under.folder, file);

  beforeEach(async () => {
    under = await createHarness();
  });
  afterEach(() => under[Symbol.asyncDispose]());

  async function packed(program: Packed, bytes: Buffer): Promise<Buffer> {
    await writeFile(at('plain'), bytes);
    const options = { encoding: 'buffer', maxBuffer: 64 * MIB } as const;
    return (await run(program, ['-c', at('plain')], options)).stdout;
  }
  async function unpacked(bytes: Buffer, timeoutMs?: number): Promise<Buffer> {
    await writeFile(at('packed'), bytes);
    await using file = await openRegularFile(at('packed'));
    const compression = await compressionOf(file, undefined);
    if (compression === 'none') throw new Error('not known as compressed');
    const limits = timeoutMs === undefined ? {} : { timeoutMs };
    const options = { folder: under.stateDirectory, maxBytes: 64 * MIB, work: workOf(), ...limits };
    await using made = await unpack(file, compression, options);
    return await readFile(join(under.stateDirectory, 'unpacked')).then((found) => {
      expect(found).toHaveLength(made.sizeBytes);
      return found;
    });
  }
  const damaged = { code: 'disk.refused', details: expect.objectContaining({ reason: 'malformed' }) };

  describe.each(['gzip', 'xz', 'zstd'] as const)('by %s', (program) => {
    it('are whole, also when they are of several streams', async () => {
      const parts = [await packed(program, content), await packed(program, content.subarray(0, 1000))];
      const whole = Buffer.concat([content, content.subarray(0, 1000)]);
      expect((await unpacked(Buffer.concat(parts))).equals(whole)).toBe(true);
    });

    it('are refused with something else behind them', async () => {
      const bytes = Buffer.concat([
        await packed(program, content),
        Buffer.from('something else, of odd length'),
      ]);
      await expect(unpacked(bytes)).rejects.toMatchObject(damaged);
    });

    it('are not called damaged when it is only that time is over', async () => {
      await expect(unpacked(await packed(program, content), 1)).rejects.toMatchObject({
        code: 'disk.convert_failed',
        message: `${at('packed')} was not unpacked within 1 ms.`,
      });
    });
  });

  it('by zstd may begin with a frame that says nothing of the contents', async () => {
    const bytes = Buffer.concat([skippable, await packed('zstd', content)]);
    expect((await unpacked(bytes)).equals(content)).toBe(true);
  });
});
