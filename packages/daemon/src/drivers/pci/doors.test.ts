import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createDoors } from './doors.ts';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'wirt-doors-'));
  for (const name of ['vfio', '7']) writeFileSync(join(directory, name), '', { mode: 0o600 });
});
afterEach(() => rmSync(directory, { recursive: true }));

const accessOf = (name: string) => {
  const { uid, gid, mode } = statSync(join(directory, name));
  return { uid, gid, mode: (mode & 0o777).toString(8) };
};
const guest = { uid: 200_001, gid: 200_001, groups: [], own: true };
const settled = () => Promise.resolve();
const isRoot = process.geteuid?.() === 0;

describe('the doors of VFIO', () => {
  // Only root gives files away.
  it.runIf(isRoot)('open to one guest, and close again', async () => {
    const doors = createDoors(directory, settled);
    await doors.grant(7, guest);
    await doors.grant(7, guest);
    expect(accessOf('7')).toEqual({ uid: 0, gid: guest.gid, mode: '660' });
    expect(accessOf('vfio')).toEqual({ uid: 0, gid: 0, mode: '666' });
    await doors.revoke(7);
    await doors.revoke(7);
    expect(accessOf('7')).toEqual({ uid: 0, gid: 0, mode: '600' });
  });

  // As above.
  it.runIf(isRoot)('close to others than the guest that were let in', async () => {
    chmodSync(join(directory, '7'), 0o666);
    const doors = createDoors(directory, settled);
    await doors.grant(7, guest);
    expect(accessOf('7').mode).toBe('660');
    await doors.revoke(7);
    expect(accessOf('7')).toEqual({ uid: 0, gid: 0, mode: '600' });
  });

  it('that udev makes while they are waited for are opened after it', async () => {
    rmSync(join(directory, '7'));
    const made = async (): Promise<void> => writeFileSync(join(directory, '7'), '', { mode: 0o600 });
    await createDoors(directory, made).grant(7, { ...guest, own: false });
    expect(accessOf('7').mode).toBe('600');
  });

  it('stay as they are for a guest that runs as the daemon', async () => {
    const before = accessOf('7');
    await createDoors(directory, settled).grant(7, { ...guest, own: false });
    expect(accessOf('7')).toEqual(before);
  });

  it('that are not there cannot be opened, and need no closing', async () => {
    const doors = createDoors(directory, settled);
    await expect(doors.grant(8, guest)).rejects.toMatchObject({
      code: 'device.bind_failed',
      message: expect.stringContaining('IOMMU group 8'),
    });
    await doors.revoke(8);
  });
});
