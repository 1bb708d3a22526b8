// What every Firmware must do. As root also against the real kernel's permissions, with a user that nobody is.
import { spawnSync } from 'node:child_process';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Firmware } from './firmware.ts';
import type { Identity } from './sandbox.ts';

export interface FirmwareUnderTest {
  /** Another object on the same files, as after a restart. */
  open(): Firmware;
  /** What fresh variables are. */
  readonly template: Buffer;
  /** Removes everything. */
  destroy(): Promise<void>;
}

const isRoot = process.geteuid?.() === 0;
const id = '01J9ZK3W8Y7Q5T2R4M6N8P1000';
const other = '01J9ZK3W8Y7Q5T2R4M6N8P2000';
const [snapshot, later] = ['01J9ZK3W8Y7Q5T2R4M6N8P3000', '01J9ZK3W8Y7Q5T2R4M6N8P4000'];
const identity = (uid: number, own = true): Identity => ({ uid, gid: uid, groups: [], own });
const guestUid = 0x7e00_1000;

/** Whether a process of that user can open the file for writing, and for reading. */
function opens(path: string, uid: number): boolean {
  const as = [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups'];
  const program = ['sh', '-c', ': <> "$1"', 'sh', path];
  return spawnSync('setpriv', [...as, ...program], { timeout: 10_000 }).status === 0;
}

export function firmwareContract(name: string, make: () => Promise<FirmwareUnderTest>): void {
  describe(`${name} as Firmware`, () => {
    let under: FirmwareUnderTest;
    let firmware: Firmware;

    beforeEach(async () => {
      under = await make();
      firmware = under.open();
    });

    afterEach(async () => {
      await under.destroy();
    });

    /** The guest's variables become this, at their length. */
    const change = async (path: string, content: string): Promise<Buffer> => {
      const bytes = Buffer.from(await readFile(path));
      bytes.write(content, 100);
      // In place, as QEMU writes.
      await writeFile(path, bytes, { flag: 'r+' });
      return bytes;
    };

    it('gives each instance variables of its own, made from the template, and shared code', async () => {
      const [one, two] = [await firmware.prepare(id), await firmware.prepare(other)];
      expect(one.code).toBe(two.code);
      expect((await stat(one.code)).size).toBeGreaterThan(0);
      expect(one.vars).not.toBe(two.vars);
      for (const { vars } of [one, two]) {
        expect((await readFile(vars)).equals(under.template)).toBe(true);
        expect((await stat(vars)).mode & 0o777).toBe(0o600);
      }
    });

    it('keeps the variables from then on, also after a restart', async () => {
      const first = await firmware.prepare(id);
      const changed = await change(first.vars, 'boot entry');
      expect(await under.open().prepare(id)).toEqual(first);
      expect((await readFile(first.vars)).equals(changed)).toBe(true);
    });

    it('says where variables are, and that there are none', async () => {
      expect(await firmware.variables(id)).toBeUndefined();
      const { vars } = await firmware.prepare(id);
      expect(await firmware.variables(id)).toBe(vars);
    });

    it('brings back the variables of a snapshot, as often as asked, until it is forgotten', async () => {
      const { vars } = await firmware.prepare(id);
      const then = await change(vars, 'then');
      await firmware.save(id, snapshot);
      const afterwards = await change(vars, 'afterwards');
      await firmware.save(id, later);
      for (const [snapshotId, bytes] of [
        [snapshot, then],
        [later, afterwards],
        [snapshot, then],
      ] as const) {
        await under.open().restore(id, snapshotId);
        expect((await readFile(vars)).equals(bytes), snapshotId).toBe(true);
        await change(vars, 'now');
      }
      await firmware.forget(id, snapshot);
      await firmware.forget(id, snapshot);
      const now = await readFile(vars);
      await firmware.restore(id, snapshot);
      expect((await readFile(vars)).equals(now)).toBe(true);
      await firmware.restore(id, later);
      expect((await readFile(vars)).equals(afterwards)).toBe(true);
    });

    it('saves again under the same snapshot, as a work that is repeated does', async () => {
      const { vars } = await firmware.prepare(id);
      await firmware.save(id, snapshot);
      const second = await change(vars, 'second');
      await firmware.save(id, snapshot);
      await change(vars, 'third');
      await firmware.restore(id, snapshot);
      expect((await readFile(vars)).equals(second)).toBe(true);
    });

    it('has nothing to do for an instance without variables', async () => {
      await firmware.save(id, snapshot);
      await firmware.restore(id, snapshot);
      await firmware.forget(id, snapshot);
      await firmware.grant(id, identity(guestUid));
      await firmware.grant(id, undefined);
      await firmware.remove(id);
      expect(await firmware.variables(id)).toBeUndefined();
      expect(await firmware.list()).toEqual([]);
    });

    it('lists and removes all of an instance, and nothing of another', async () => {
      await firmware.prepare(other);
      await firmware.save(other, snapshot);
      await firmware.prepare(id);
      await firmware.save(id, snapshot);
      const again = under.open();
      expect(await again.list()).toEqual([id, other]);
      await again.remove(id);
      await again.remove(id);
      expect(await again.list()).toEqual([other]);
      await again.restore(other, snapshot);
      const { vars } = await firmware.prepare(id);
      expect((await readFile(vars)).equals(under.template)).toBe(true);
    });

    // Becoming another user needs root.
    it.skipIf(!isRoot)(
      'lets the guest that is given variables write them and no other, until taken back',
      async () => {
        const { vars, code } = await firmware.prepare(id);
        expect(opens(vars, guestUid)).toBe(false);
        await firmware.grant(id, identity(guestUid));
        expect([opens(vars, guestUid), opens(vars, guestUid + 1)]).toEqual([true, false]);
        expect(opens(code, guestUid)).toBe(false);
        await firmware.grant(id, undefined);
        expect(opens(vars, guestUid)).toBe(false);
        expect(await stat(vars)).toMatchObject({ uid: process.geteuid?.(), gid: process.getegid?.() });
      },
    );

    // Only root gives files to other users.
    it.skipIf(!isRoot)(
      'takes variables back that are restored, and saves those of a running guest',
      async () => {
        const { vars } = await firmware.prepare(id);
        await firmware.grant(id, identity(guestUid));
        const running = await change(vars, 'running');
        await firmware.save(id, snapshot);
        expect(opens(vars, guestUid)).toBe(true);
        await firmware.restore(id, snapshot);
        expect((await readFile(vars)).equals(running)).toBe(true);
        expect(opens(vars, guestUid)).toBe(false);
      },
    );

    it('leaves a guest that runs as the daemon’s user what it has', async () => {
      const { vars } = await firmware.prepare(id);
      await firmware.grant(id, identity(guestUid, false));
      expect(await stat(vars)).toMatchObject({ uid: process.geteuid?.(), gid: process.getegid?.() });
    });

    it('makes no path of a name that leads elsewhere', async () => {
      for (const bad of ['..', '.', '', 'a/b', '/etc', 'a\0b', '-o']) {
        await expect(firmware.prepare(bad), bad).rejects.toThrow('cannot be of UEFI variables');
        await expect(firmware.save(id, bad), bad).rejects.toThrow('cannot be of UEFI variables');
        await expect(firmware.remove(bad), bad).rejects.toThrow('cannot be of UEFI variables');
      }
    });
  });
}
