import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { identityFiles, ownPublicKeys } from './own-ssh-keys.ts';

const key = `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI${'a1+/'.repeat(10)} me@home`;
let home: string;

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'wirt-keys-'));
});
afterEach(() => rm(home, { recursive: true }));

const io = (env: Record<string, string> = {}) => ({ env: { HOME: home, PATH: process.env['PATH'], ...env } });

async function put(path: string, content: string): Promise<void> {
  await mkdir(join(home, path, '..'), { recursive: true });
  await writeFile(join(home, path), content);
}

describe('the keys for a new guest', () => {
  it('are the user’s own', async () => {
    await put('.ssh/id_ed25519.pub', `${key}\n`);
    await put('.ssh/id_rsa.pub', 'ssh-rsa AAAAB3NzaC1yc2E\n');
    await put('.ssh/id_ecdsa.pub', 'not a key\nat all\n');
    expect(await ownPublicKeys(io())).toEqual([key, 'ssh-rsa AAAAB3NzaC1yc2E']);
    await expect(stat(join(home, '.config'))).rejects.toThrow('ENOENT');
    // Then ssh finds them by itself.
    expect(await identityFiles(io())).toEqual([]);
  });

  it('are made once where there is none, and kept where nobody else reads them', async () => {
    const made = await ownPublicKeys(io());
    expect(made).toEqual([expect.stringMatching(/^ssh-ed25519 AAAA\S+ wirt$/)]);
    expect(await ownPublicKeys(io())).toEqual(made);
    const path = join(home, '.config/wirt/id_ed25519');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(join(path, '..'))).mode & 0o777).toBe(0o700);
    expect(await readFile(path, 'utf8')).toContain('BEGIN OPENSSH PRIVATE KEY');
    expect(await identityFiles(io())).toEqual([path]);
  });

  it('are looked for where the user’s configuration is', async () => {
    const configured = { XDG_CONFIG_HOME: join(home, 'conf') };
    await put('conf/wirt/id_ed25519', 'private');
    await put('conf/wirt/id_ed25519.pub', key);
    await put('.ssh/id_rsa', 'private');
    expect(await ownPublicKeys(io(configured))).toEqual([key]);
    // ssh looks for no other as soon as one is named.
    expect(await identityFiles(io(configured))).toEqual([
      join(home, 'conf/wirt/id_ed25519'),
      join(home, '.ssh/id_rsa'),
    ]);
  });

  it('are none where there is no home, and none can be made', async () => {
    expect(await ownPublicKeys({ env: {} })).toEqual([]);
    expect(await ownPublicKeys(io({ PATH: '/nowhere' }))).toEqual([]);
    expect(await identityFiles({ env: {} })).toEqual([]);
  });
});
