import { describe, expect, it } from 'vitest';
import { bootCode, placedCore } from './boot-sector.ts';

function bootImage(): Buffer {
  const sector = Buffer.alloc(512, 0x11);
  sector.set([0xeb, 0x05], 0x66);
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
}

describe('bootCode', () => {
  it('names the sector to load, skips the check of the drive, and ends before the disk signature', () => {
    const code = bootCode(bootImage(), 2048);
    expect(code.length).toBe(440);
    expect(code.subarray(0x5c, 0x68).toString('hex')).toBe('0008000000000000' + '1111' + '9090');
    expect(code.subarray(0x68).every((byte) => byte === 0x11)).toBe(true);
  });

  it('refuses what is no boot sector', () => {
    expect(() => bootCode(Buffer.alloc(512), 2048)).toThrow('boot.img is not one boot sector.');
  });
});

describe('placedCore', () => {
  it('is filled up to whole sectors, and loads all but its first from right behind it', () => {
    const core = placedCore(Buffer.alloc(1300, 0x22), 2048);
    expect(core.length).toBe(3 * 512);
    expect(core.subarray(500, 512).toString('hex')).toBe('0108000000000000' + '0200' + '2008');
    expect(core.subarray(1299, 1301).toString('hex')).toBe('2200');
  });

  it('refuses an image that is none', () => {
    expect(() => placedCore(Buffer.alloc(100), 2048)).toThrow('core.img has no reasonable length.');
  });
});
