import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { makeRoot, removeFiles, writeTable } from './host-files.fixture.ts';
import { createSysfsWrites } from './sysfs-writes.ts';

afterEach(removeFiles);
const signal = (): AbortSignal => AbortSignal.timeout(5_000);

describe('a write into a file of the kernel', () => {
  it('writes the value, and makes no file where there is none', async () => {
    const root = await makeRoot();
    writeTable(root, { '/sys/size': '7' });
    const { write } = createSysfsWrites(root);
    await write('/sys/size', '8', signal());
    expect(await readFile(join(root, 'sys/size'), 'utf8')).toBe('8');
    await expect(write('/sys/other', '8', signal())).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('that the kernel does not answer is waited for until the deadline, or until told to give up', async () => {
    const root = await makeRoot();
    // Opening a pipe that nobody reads blocks, as a driver does that does not let go.
    const pipe = join(root, 'pipe');
    execFileSync('mkfifo', [pipe]);
    try {
      await expect(createSysfsWrites(root, 20).write('/pipe', '1', signal())).rejects.toThrow(
        'did not answer a write to /pipe',
      );
      const giveUp = new AbortController();
      const written = createSysfsWrites(root).write('/pipe', '1', giveUp.signal);
      giveUp.abort(new Error('enough'));
      await expect(written).rejects.toThrow('enough');
    } finally {
      // Lets the blocked threads go.
      await readFile(pipe);
    }
    await expect(
      createSysfsWrites(root).write('/pipe', '1', AbortSignal.abort(new Error('no'))),
    ).rejects.toThrow('no');
  });
});
