import { chmod, chown, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sandboxContract } from '@wirt/core/contract/sandbox';
import { afterEach, describe, expect, it } from 'vitest';
import { createSandbox, kvmGroups } from './sandbox.ts';

const isRoot = process.geteuid?.() === 0;
const warnings: string[] = [];
const logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: (event: string) => void warnings.push(event),
  error: () => undefined,
};
// Beside the default range, so that guests of a daemon on this machine are not in the way.
const uidRange = { first: 0x7e00_0000 + (process.pid % 1000) * 16, count: 8 };

const made: string[] = [];
async function directory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'wirt-uids-'));
  made.push(path);
  return path;
}
const cleanUp = async (): Promise<void> => {
  for (const path of made.splice(0)) await rm(path, { recursive: true });
};
const sandboxIn = (claimDirectory: string, tag = 'one', range = uidRange) =>
  createSandbox({ tag, uidRange: range, claimDirectory, logger });

// Becoming another user needs root.
describe.skipIf(!isRoot)('claims in files', () => {
  sandboxContract('uid claims in files', async () => {
    const claimDirectory = await directory();
    return { daemon: (tag) => sandboxIn(claimDirectory, tag), uids: uidRange.count, cleanUp };
  });

  describe('beyond the contract', () => {
    afterEach(cleanUp);

    it('hold the name of the daemon and of the guest, and nothing else is left in the directory', async () => {
      const path = await directory();
      const { uid } = await sandboxIn(path).claim('guest', { kvm: false });
      expect(await readdir(path)).toEqual([String(uid)]);
      expect(JSON.parse(await readFile(join(path, String(uid)), 'utf8'))).toEqual({
        tag: 'one',
        id: 'guest',
      });
    });

    it('leave a file that nobody understands where it is, and its uid unused', async () => {
      const path = await directory();
      const odd = Array.from({ length: 6 }, (_none, index) => String(uidRange.first + index));
      for (const [index, name] of odd.entries())
        await writeFile(join(path, name), ['', '{', '[]', 'null', '{"tag":1}', '\0'][index] ?? '');
      const sandbox = sandboxIn(path);
      const got = [await sandbox.claim('a', { kvm: false }), await sandbox.claim('b', { kvm: false })];
      expect(got.map(({ uid }) => uid)).toEqual(
        expect.arrayContaining([uidRange.first + 6, uidRange.first + 7]),
      );
      await expect(sandbox.claim('c', { kvm: false })).rejects.toMatchObject({ code: 'host.uids_exhausted' });
      expect(await readdir(path)).toEqual(expect.arrayContaining(odd));
      expect(await sandbox.claimed()).toEqual(['a', 'b']);
    });

    it('sweep away what a daemon left that died while it claimed', async () => {
      const path = await directory();
      await writeFile(join(path, '.one.guest.1'), '');
      await writeFile(join(path, '.two.guest.1'), '');
      expect(await sandboxIn(path).claimed()).toEqual([]);
      expect(await readdir(path)).toEqual(['.two.guest.1']);
    });

    it('are made again when somebody emptied the directory under the daemon', async () => {
      const path = await directory();
      const sandbox = sandboxIn(path);
      const before = await sandbox.claim('guest', { kvm: false });
      await rm(path, { recursive: true });
      warnings.length = 0;
      expect(await sandbox.claim('guest', { kvm: false })).toEqual(before);
      expect(warnings).toEqual(['sandbox.claim_was_lost']);
      expect(await sandbox.claimed()).toEqual(['guest']);
    });

    it('are given up, with another uid, when somebody else has the uid by now', async () => {
      const path = await directory();
      const sandbox = sandboxIn(path);
      const before = await sandbox.claim('guest', { kvm: false });
      await writeFile(join(path, String(before.uid)), '{"tag":"two","id":"guest"}');
      expect((await sandbox.claim('guest', { kvm: false })).uid).not.toBe(before.uid);
    });

    it('cannot be made where nothing may be written, and the error says so', async () => {
      await expect(sandboxIn('/sys/kernel/wirt-uids').claim('a', { kvm: false })).rejects.toMatchObject({
        code: 'host.permission_denied',
      });
    });
  });

  describe('of an ordinary user', () => {
    afterEach(async () => {
      process.seteuid?.(0);
      await cleanUp();
    });

    it('are none: guests run as the user, and nothing is written', async () => {
      const path = await directory();
      process.seteuid?.(65_534);
      const sandbox = sandboxIn(path);
      expect(await sandbox.claim('guest', { kvm: true })).toMatchObject({ uid: 65_534, own: false });
      await sandbox.release('guest');
      expect(await sandbox.claimed()).toEqual([]);
      process.seteuid?.(0);
      expect(await readdir(path)).toEqual([]);
    });
  });

  describe('the group for KVM', () => {
    afterEach(cleanUp);

    it('is the one that owns the device, none where all may open it, and never root', async () => {
      const device = join(await directory(), 'kvm');
      await writeFile(device, '');
      await chown(device, 0, 4711);
      await chmod(device, 0o660);
      expect(await kvmGroups(device)).toEqual([4711]);
      await chmod(device, 0o666);
      expect(await kvmGroups(device)).toEqual([]);
      await chmod(device, 0o600);
      await expect(kvmGroups(device)).rejects.toMatchObject({ code: 'host.kvm_unusable' });
      await chown(device, 0, 0);
      await chmod(device, 0o660);
      await expect(kvmGroups(device)).rejects.toMatchObject({ code: 'host.kvm_unusable' });
      await expect(kvmGroups(`${device}-not`)).rejects.toMatchObject({ code: 'host.kvm_unusable' });
    });
  });
});
