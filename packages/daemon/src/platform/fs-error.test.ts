import { WirtError } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { fsError } from './fs-error.ts';

const failed = (code: string): Error => Object.assign(new Error(`${code}: something`), { code });

describe('an error of the file system', () => {
  it.each([
    ['ENOSPC', 'host.storage_full'],
    ['EDQUOT', 'host.storage_full'],
    ['EROFS', 'host.storage_read_only'],
    ['EACCES', 'host.permission_denied'],
    ['EPERM', 'host.permission_denied'],
    ['EIO', 'internal'],
  ])('%s becomes %s, with operation and path', (errno, code) => {
    const cause = failed(errno);
    expect(fsError(cause, 'write', '/srv/x/file')).toMatchObject({
      code,
      message: 'Could not write /srv/x/file.',
      cause,
      details: { path: '/srv/x/file', errno },
    });
  });

  it('says what to do where that is known', () => {
    for (const errno of ['ENOSPC', 'EDQUOT', 'EROFS', 'EACCES', 'EPERM']) {
      expect(fsError(failed(errno), 'write', '/srv/x/file').hint, errno).toMatch(/\w+ -\w|chown/);
    }
  });

  it('that is none gets the code of the caller, and one of the catalogue stays what it is', () => {
    const known = new WirtError('store.conflict', 'x');
    expect(fsError(known, 'write', '/x')).toBe(known);
    expect(fsError('odd', 'write', '/x', 'store.failed')).toMatchObject({ code: 'store.failed' });
  });
});
