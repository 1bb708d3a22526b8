import { symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { filesOf, makeRoot, removeFiles } from './host-files.fixture.ts';
import { createHostFiles } from './host-files.ts';

afterEach(removeFiles);

describe('files of the host', () => {
  it('are all read, however many are asked for at once', async () => {
    const names = Array.from({ length: 500 }, (_, at) => `/sys/${at}/size`);
    const files = await filesOf(Object.fromEntries(names.map((name, at) => [name, `${at}\n`])));
    const read = await Promise.all(names.map((name) => files.number(name)));
    expect(read).toEqual(names.map((_, at) => at));
  });

  it('that are not there are undefined, and hold up no other', async () => {
    const files = await filesOf({ '/sys/there': 'yes\n' });
    const asked = Array.from({ length: 300 }, () => files.line('/sys/absent'));
    expect(new Set(await Promise.all(asked))).toEqual(new Set([undefined]));
    expect(await files.line('/sys/there')).toBe('yes');
  });

  it('are named without their links, below the root, and only when they exist', async () => {
    const root = await makeRoot();
    await writeFile(join(root, 'real'), '');
    await symlink('real', join(root, 'link'));
    const files = createHostFiles(root);
    expect(await files.realPath('/link')).toBe('/real');
    expect(await files.realPath('/nowhere')).toBeUndefined();
    expect(await createHostFiles().realPath('/proc/self')).toBe(`/proc/${process.pid}`);
  });
});
