import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ageText,
  BadValue,
  bytesText,
  durationText,
  mibText,
  parseBytes,
  parseControlKey,
  parseInteger,
  parseMib,
  parsePair,
  parseSeconds,
  sizeText,
} from './units.ts';

describe('a size', () => {
  it.each([
    ['512M', 512],
    ['2G', 2048],
    ['1024MiB', 1024],
    ['1.5g', 1536],
    ['2 GiB', 2048],
    ['1T', 1_048_576],
  ])('%s is read as %d MiB', (text, mib) => {
    expect(parseMib(text)).toBe(mib);
  });

  it.each([
    ['512', 'needs a unit: 512M or 512G'],
    ['512MB', 'write 512M or 512MiB'],
    ['1.0001G', 'must be whole MiB'],
    ['-1G', 'not "-1G"'],
    ['G', 'not "G"'],
    ['1e3M', 'not "1e3M"'],
    ['5K', 'not "K"'],
    ['', 'not ""'],
    ['0x10M', 'not "0x10M"'],
  ])('%s is refused with the reason', (text, reason) => {
    expect(() => parseMib(text)).toThrow(reason);
  });

  it('is read back as it was shown, and anything else is refused as a bad value', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 67_108_864 }), (mib) => {
        expect(parseMib(mibText(mib))).toBe(mib);
      }),
    );
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          expect(Number.isSafeInteger(parseMib(text))).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(BadValue);
        }
      }),
    );
  });
});

describe('the size of a disk', () => {
  it.each([
    ['512B', 512],
    ['4K', 4096],
    ['512M', 536_870_912],
    ['10G', 10_737_418_240],
    ['1.5gib', 1_610_612_736],
    ['2 TiB', 2_199_023_255_552],
  ])('%s is read as %d bytes', (text, bytes) => {
    expect(parseBytes(text)).toBe(bytes);
  });

  it.each([
    ['10', 'needs a unit: 10M or 10G'],
    ['10GB', 'write 10G or 10GiB'],
    ['513B', 'must be whole sectors of 512 bytes'],
    ['0G', 'must be whole sectors of 512 bytes'],
    ['1.1G', 'must be whole sectors of 512 bytes'],
    ['10P', 'not "P"'],
    ['+5G', 'not "+5G"'],
    ['', 'not ""'],
    ['99999999999T', 'is larger than a disk can be'],
  ])('%s is refused with the reason', (text, reason) => {
    expect(() => parseBytes(text)).toThrow(reason);
  });

  it('is whole sectors or refused, and is read back as it was shown where that is exact', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8191 }), fc.constantFrom('K', 'M', 'G', 'T'), (count, unit) => {
        const bytes = parseBytes(`${count}${unit}`);
        expect(parseBytes(sizeText(bytes))).toBe(bytes);
      }),
    );
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          const bytes = parseBytes(text);
          expect(Number.isSafeInteger(bytes) && bytes > 0 && bytes % 512 === 0).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(BadValue);
        }
      }),
    );
  });

  it('is shown in the largest unit that is exact, and else rounded', () => {
    expect([10_737_418_240, 1_610_612_736, 1_572_864, 512, 4_294_967_808].map(sizeText)).toEqual([
      '10 GiB',
      '1536 MiB',
      '1536 KiB',
      '512 B',
      '4.0 GiB',
    ]);
  });
});

describe('a time', () => {
  it.each([
    ['30', 30],
    ['30s', 30],
    ['2m', 120],
    ['1h', 3600],
  ])('%s is read as %d seconds', (text, seconds) => {
    expect(parseSeconds(text)).toBe(seconds);
  });

  it.each(['', '-1', '1d', '1.5m', 'm', '2 m', '30constructor'])('%j is refused', (text) => {
    expect(() => parseSeconds(text)).toThrow('takes a time such as 30, 30s or 2m');
  });

  it('is shown in its largest unit', () => {
    expect([4_000, 600_000, 7_200_000, 9 * 86_400_000].map(durationText)).toEqual([
      '4 s',
      '10 min',
      '2 h',
      '9 d',
    ]);
    expect(ageText('2026-11-22T11:59:30Z', Date.parse('2026-11-22T12:00:00Z'))).toBe('30 s');
    expect(ageText('nonsense', 0)).toBe('?');
  });
});

describe('other values', () => {
  it('reads whole numbers within their limits', () => {
    expect(parseInteger('4', 1, 8)).toBe(4);
    expect(() => parseInteger('9', 1, 8)).toThrow('must be from 1 to 8, and is 9');
    expect(() => parseInteger('4.5', 1, 8)).toThrow('takes a whole number, and not "4.5"');
  });

  it('takes a pair apart at the first equals sign', () => {
    expect(parsePair('a=b=c')).toEqual(['a', 'b=c']);
    expect(parsePair('a=')).toEqual(['a', '']);
    expect(() => parsePair('=b')).toThrow('takes KEY=VALUE');
  });

  it('knows control keys by their usual spellings', () => {
    expect(['ctrl-]', '^]', 'Ctrl-A', 'C-a'].map(parseControlKey)).toEqual([0x1d, 0x1d, 1, 1]);
    expect(() => parseControlKey('x')).toThrow('takes a control key');
  });

  it('shows bytes rounded', () => {
    expect([900, 1536, 300 * 1024 * 1024].map(bytesText)).toEqual(['900 B', '1.5 KiB', '300 MiB']);
  });
});
