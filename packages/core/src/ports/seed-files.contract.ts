// What every SeedFiles must do. As root also against the real kernel's permissions, with a user that nobody is.
import { spawnSync } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { seedLimitsBytes } from '../domain/cloud-init.ts';
import type { Identity } from './sandbox.ts';
import type { SeedFiles } from './seed-files.ts';

export interface SeedFilesUnderTest {
  /** Another object on the same files, as after a restart. */
  open(): SeedFiles;
  /** What the guest finds on the medium, by file name. */
  read(path: string): Promise<Record<string, string>>;
  /** The medium's label. */
  label(path: string): Promise<string | undefined>;
  /** Removes everything. */
  destroy(): Promise<void>;
}

const isRoot = process.geteuid?.() === 0;
const id = '01J9ZK3W8Y7Q5T2R4M6N8P1000';
const other = '01J9ZK3W8Y7Q5T2R4M6N8P2000';
const plain = { 'user-data': '#cloud-config\n{}\n', 'meta-data': '{"instance-id":"1"}\n' };
const identity = (uid: number, own = true): Identity => ({ uid, gid: uid, groups: [], own });
const guestUid = 0x7e00_1000;

/** Whether a process of that user can read the file. */
function reads(path: string, uid: number): boolean {
  const as = [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups'];
  return spawnSync('setpriv', [...as, 'head', '-c', '1', path], { timeout: 10_000 }).status === 0;
}

export function seedFilesContract(name: string, make: () => Promise<SeedFilesUnderTest>): void {
  describe(`${name} as SeedFiles`, () => {
    let under: SeedFilesUnderTest;
    let seeds: SeedFiles;

    beforeEach(async () => {
      under = await make();
      seeds = under.open();
    });

    afterEach(async () => {
      await under.destroy();
    });

    it('gives the guest the files, byte by byte, on a medium labelled cidata', async () => {
      const files = {
        'user-data': '#!/bin/sh\necho "größe: $HOME" \'`\\\r\n\ttab 🦆\n',
        'meta-data': '{}',
        'network-config': 'version: 2\n',
        'vendor-data': '#cloud-config\n{"password": "$6$x$y"}',
      };
      const path = await seeds.write(id, files);
      expect(path).toBe(seeds.path(id));
      expect(await under.label(path)).toBe('cidata');
      expect(await under.read(path)).toEqual(files);
    });

    it('has only the files that were given, and takes user-data of the largest size', async () => {
      const files = { ...plain, 'user-data': `#!${'x'.repeat(seedLimitsBytes['user-data'] - 2)}` };
      expect(await under.read(await seeds.write(id, files))).toEqual(files);
    });

    it('refuses a file over its limit, and leaves the seed as it was', async () => {
      const path = await seeds.write(id, plain);
      for (const [file, limit] of Object.entries(seedLimitsBytes)) {
        // Two bytes each.
        const large = { ...plain, [file]: 'ü'.repeat(limit / 2 + 1) };
        await expect(seeds.write(id, large), file).rejects.toMatchObject({ code: 'request.invalid' });
      }
      expect(await under.read(path)).toEqual(plain);
    });

    it('replaces a seed as a whole', async () => {
      await seeds.write(id, { ...plain, 'vendor-data': 'old' });
      const files = { ...plain, 'user-data': '#!new' };
      expect(await under.read(await seeds.write(id, files))).toEqual(files);
    });

    it('lists and removes seeds, also after a restart, and removes nothing of another', async () => {
      expect(await seeds.list()).toEqual([]);
      await seeds.remove(id);
      await seeds.write(other, plain);
      await seeds.write(id, plain);
      const again = under.open();
      expect(await again.list()).toEqual([id, other]);
      await again.remove(id);
      await again.remove(id);
      expect(await again.list()).toEqual([other]);
      expect(await under.read(again.path(other))).toEqual(plain);
    });

    it('keeps user-data byte by byte for who asks by the id, with a seed or without, until it is removed', async () => {
      const text = '#!/bin/sh\necho "größe" \r\n\t🦆';
      expect(await seeds.userData(id)).toBeUndefined();
      await seeds.write(id, plain);
      expect(await seeds.userData(id)).toBeUndefined();
      await seeds.keepUserData(id, 'old');
      await seeds.keepUserData(id, text);
      await seeds.keepUserData(other, '');
      const again = under.open();
      expect(Buffer.from((await again.userData(id)) ?? []).toString('utf8')).toBe(text);
      expect(await again.userData(other)).toHaveLength(0);
      expect(await again.list()).toEqual([id, other]);
      expect(await under.read(again.path(id))).toEqual(plain);
      await again.remove(id);
      expect([await again.userData(id), await again.list()]).toEqual([undefined, [other]]);
    });

    it('takes user-data of the largest size, and refuses more', async () => {
      const limit = seedLimitsBytes['user-data'];
      await seeds.keepUserData(id, 'x'.repeat(limit));
      expect(await seeds.userData(id)).toHaveLength(limit);
      await expect(seeds.keepUserData(id, 'ü'.repeat(limit / 2 + 1))).rejects.toMatchObject({
        code: 'request.invalid',
      });
      expect(await seeds.userData(id)).toHaveLength(limit);
    });

    it('is for the daemon only, as long as no guest is given it', async () => {
      const path = await seeds.write(id, plain);
      expect((await stat(path)).mode & 0o777).toBe(0o600);
      await seeds.grant(id, identity(guestUid, false));
      expect(await stat(path)).toMatchObject({ uid: process.geteuid?.(), gid: process.getegid?.() });
      await seeds.grant(other, undefined);
      await seeds.grant(other, identity(guestUid, false));
    });

    // Becoming another user needs root.
    it.skipIf(!isRoot)(
      'can be read by the guest that is given it and by no other, until it is taken back',
      async () => {
        const path = await seeds.write(id, plain);
        await seeds.grant(id, identity(guestUid));
        expect([reads(path, guestUid), reads(path, guestUid + 1)]).toEqual([true, false]);
        expect((await stat(path)).mode & 0o777).toBe(0o400);
        await seeds.grant(id, undefined);
        expect(reads(path, guestUid)).toBe(false);
        await seeds.grant(other, identity(guestUid));
      },
    );

    // Only root gives files to other users.
    it.skipIf(!isRoot)('is the daemon’s again when it is written anew', async () => {
      const path = await seeds.write(id, plain);
      await seeds.grant(id, identity(guestUid));
      expect(reads(path, guestUid)).toBe(true);
      await seeds.write(id, plain);
      expect(reads(path, guestUid)).toBe(false);
    });

    it('makes no path of a name that leads elsewhere', async () => {
      for (const bad of ['..', '.', '', 'a/b', '/etc', 'a\0b', '-o', '.build-x']) {
        expect(() => seeds.path(bad), bad).toThrow('cannot be a cloud-init seed');
        await expect(seeds.write(bad, plain), bad).rejects.toThrow('cannot be a cloud-init seed');
        await expect(seeds.keepUserData(bad, ''), bad).rejects.toThrow('cannot be a cloud-init seed');
        await expect(seeds.userData(bad), bad).rejects.toThrow('cannot be a cloud-init seed');
        await expect(seeds.remove(bad), bad).rejects.toThrow('cannot be a cloud-init seed');
      }
    });
  });
}
