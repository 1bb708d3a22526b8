import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressWord, bitsOf, bitsOfMac, cidrWord, idWord, interfaceWord } from './nft-words.ts';

describe('words for nft', () => {
  it('are addresses in one form', () => {
    expect(addressWord('FD00:0:0:0::0001')).toBe('fd00::1');
    expect(cidrWord('FD00::/8')).toBe('fd00::/8');
    expect(cidrWord('10.0.0.7/32')).toBe('10.0.0.7');
  });

  it.each(['10.0.0', '10.0.0.1/33', '10.0.0.1/x', '::1/129', '10.0.0.1 }', ''])('are no CIDR: %j', (text) => {
    expect(() => cidrWord(text)).toThrow(/CIDR|IP address/);
  });

  it.each(['a b', 'a"', 'a;', 'a\n', '', '$x'])('are no ids and no interfaces: %j', (text) => {
    expect(() => idWord(text)).toThrow(/not an id/);
    expect(() => interfaceWord(text)).toThrow(/not the name/);
  });

  it('are the bits of a MAC address', () => {
    expect(bitsOfMac('02:00:00:00:00:0A')).toBe('0x2000000000a');
    expect(bitsOfMac('00:00:00:00:00:00')).toBe('0x0');
  });

  it('are the bits of every IPv6 address', () => {
    expect(bitsOf('::')).toBe('0x0');
    expect(bitsOf('::ffff:1.2.3.4')).toBe('0xffff01020304');
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 65_535 }), { minLength: 8, maxLength: 8 }), (words) => {
        const bits = words.reduce((sum, word) => sum * 65_536n + BigInt(word), 0n);
        expect(BigInt(bitsOf(words.map((word) => word.toString(16)).join(':')))).toBe(bits);
      }),
    );
  });
});
