import { execFileSync } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { makeRoot, removeFiles, writeTable } from './host-files.fixture.ts';
import { createSysfsWrites, UnansweredWrite } from './sysfs-writes.ts';

afterEach(removeFiles);
const signal = (): AbortSignal => AbortSignal.timeout(5_000);

/** Opening a pipe that nobody reads blocks, as a driver does that does not let go. */
async function withPipe(): Promise<{ readonly root: string; readonly pipe: string }> {
  const root = await makeRoot();
  const pipe = join(root, 'pipe');
  execFileSync('mkfifo', [pipe]);
  return { root, pipe };
}

describe('a write into a file of the kernel', () => {
  it('writes the value, and makes no file where there is none', async () => {
    const root = await makeRoot();
    writeTable(root, { '/sys/size': '7', '/sys/directory/': '' });
    const { write } = createSysfsWrites(root);
    await write('/sys/size', '8', signal());
    expect(await readFile(join(root, 'sys/size'), 'utf8')).toBe('8');
    await expect(write('/sys/other', '8', signal())).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(stat(join(root, 'sys/other'))).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(write('/sys/directory', '8', signal())).rejects.toMatchObject({
      code: 'EISDIR',
      message: "EISDIR: Is a directory, write '/sys/directory'",
    });
  });

  it('fails as the kernel says', async () => {
    const { write } = createSysfsWrites();
    // Read-only by its mode for users, and for root since sysfs has no way to write it.
    await expect(write('/proc/version', '1', signal())).rejects.toMatchObject({
      code: expect.stringMatching(/^E(ACCES|IO|INVAL|PERM|ROFS)$/),
    });
  });

  it('that the kernel does not answer is waited for until the deadline, and told when it ends after all', async () => {
    const { root } = await withPipe();
    const failed = await createSysfsWrites(root, 20)
      .write('/pipe', '1', signal())
      .catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(UnansweredWrite);
    expect(failed).toMatchObject({
      code: 'ETIMEDOUT',
      message: 'the kernel did not answer a write to /pipe within 0.02 s',
    });
    await (failed as UnansweredWrite).ended;
  });

  it('is given up when told to', async () => {
    const { root } = await withPipe();
    const giveUp = new AbortController();
    const written = createSysfsWrites(root).write('/pipe', '1', giveUp.signal);
    giveUp.abort(new Error('enough'));
    await expect(written).rejects.toThrow('enough');
    await expect(
      createSysfsWrites(root).write('/pipe', '1', AbortSignal.abort(new Error('no'))),
    ).rejects.toThrow('no');
  });

  it('costs the daemon nothing while it hangs: more of them than there are threads', async () => {
    const { root } = await withPipe();
    writeTable(root, { '/sys/size': '7' });
    const giveUp = new AbortController();
    const { write } = createSysfsWrites(root);
    const hung = Array.from({ length: 12 }, () => write('/pipe', '1', giveUp.signal).catch(() => 'hung'));
    await write('/sys/size', '8', signal());
    expect(await readFile(join(root, 'sys/size'), 'utf8')).toBe('8');
    giveUp.abort(new Error('enough'));
    expect(new Set(await Promise.all(hung))).toEqual(new Set(['hung']));
  });
});
