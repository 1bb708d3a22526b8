import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { partitionTypes, renderGpt, sectorBytes, usableSectors } from './gpt.ts';

const table = {
  diskGuid: '01234567-89AB-CDEF-0123-456789ABCDEF',
  diskSectors: 65536,
  partitions: [
    {
      number: 14,
      type: partitionTypes.biosBoot,
      guid: '11111111-1111-1111-1111-111111111111',
      firstSector: 2048,
      sectors: 2048,
      name: 'BIOS boot',
    },
    {
      number: 1,
      type: partitionTypes.linuxRootAmd64,
      guid: '22222222-2222-2222-2222-222222222222',
      firstSector: 4096,
      sectors: usableSectors(65536).end - 4096,
      name: 'root',
    },
  ],
};
const sfdisk = ['/usr/sbin/sfdisk', '/sbin/sfdisk', 'sfdisk'].find(
  (program) => spawnSync(program, ['--version']).status === 0,
);

describe('renderGpt', () => {
  it('protects the disk from programs that know no GPT', () => {
    const { start } = renderGpt(table);
    expect(start.subarray(446, 462).toString('hex')).toBe('00000200eeffffff01000000ffff0000');
    expect(start.readUInt16LE(510)).toBe(0xaa55);
  });

  it('writes headers that point at each other, with check sums that hold', () => {
    const { start, end } = renderGpt(table);
    const first = start.subarray(sectorBytes, 2 * sectorBytes);
    const second = end.subarray(-sectorBytes);
    for (const [header, own, other] of [
      [first, 1n, 65535n],
      [second, 65535n, 1n],
    ] as const) {
      expect(header.toString('latin1', 0, 8)).toBe('EFI PART');
      expect([header.readBigUInt64LE(24), header.readBigUInt64LE(32)]).toEqual([own, other]);
      const zeroed = Buffer.from(header.subarray(0, 92));
      zeroed.writeUInt32LE(0, 16);
      expect(header.readUInt32LE(16)).toBe(crc32(zeroed));
    }
    expect(first.readUInt32LE(88)).toBe(crc32(start.subarray(2 * sectorBytes)));
    expect(second.readBigUInt64LE(72)).toBe(65535n - 32n);
  });

  it('puts an entry at the place of its number, in the byte order of the specification', () => {
    const entry = renderGpt(table).start.subarray(2 * sectorBytes + 13 * 128, 2 * sectorBytes + 14 * 128);
    // As the specification and every hex dump of a GRUB disk show it: "Hah!IdontNeedEFI".
    expect(entry.toString('latin1', 0, 16)).toBe('Hah!IdontNeedEFI');
    expect([entry.readBigUInt64LE(32), entry.readBigUInt64LE(40)]).toEqual([2048n, 4095n]);
    expect(entry.toString('utf16le', 56, 74)).toBe('BIOS boot');
  });

  it('refuses a partition over the end of the disk', () => {
    const [partition] = table.partitions;
    if (partition === undefined) throw new Error('There is a partition above.');
    const partitions = [{ ...partition, firstSector: 65000, sectors: 600 }];
    expect(() => renderGpt({ ...table, partitions })).toThrow('Partition 14 does not lie within the disk.');
  });

  it.skipIf(sfdisk === undefined)('is without fault to sfdisk (needs sfdisk)', () => {
    const folder = mkdtempSync(join(tmpdir(), 'wirt-gpt-'));
    try {
      const { start, end } = renderGpt(table);
      const file = join(folder, 'disk');
      writeFileSync(file, start);
      truncateSync(file, table.diskSectors * sectorBytes - end.length);
      writeFileSync(file, end, { flag: 'a' });
      const verify = spawnSync(sfdisk ?? '', ['--verify', file], { encoding: 'utf8' });
      expect(verify.stdout + verify.stderr).toContain('No errors detected.');
      const dump = spawnSync(sfdisk ?? '', ['--json', file], { encoding: 'utf8' });
      const { partitiontable } = JSON.parse(dump.stdout) as {
        partitiontable: { id: string; partitions: { name: string; start: number; size: number }[] };
      };
      expect(partitiontable.id).toBe(table.diskGuid);
      expect(partitiontable.partitions.map(({ name, start: at, size }) => [name, at, size])).toEqual([
        ['root', 4096, 61407],
        ['BIOS boot', 2048, 2048],
      ]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
