import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readLinkage, readSection } from './elf.ts';

/** The smallest file with one program header table, a dynamic section and its strings. */
function tinyElf(options: { needed: readonly string[]; interpreter?: string }): Buffer {
  const strings = Buffer.from(`\0${options.needed.map((name) => `${name}\0`).join('')}`);
  const interpreter = Buffer.from(`${options.interpreter ?? ''}\0`);
  const stringsAt = 64 + 3 * 56;
  const interpreterAt = stringsAt + strings.length;
  const dynamicAt = interpreterAt + interpreter.length;
  const base = 0x1000;
  const tags: [number, number][] = [];
  let offset = 1;
  for (const name of options.needed) {
    tags.push([1, offset]);
    offset += name.length + 1;
  }
  tags.push([5, base + stringsAt], [0, 0]);

  const file = Buffer.alloc(dynamicAt + tags.length * 16);
  Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]).copy(file);
  file.writeBigUInt64LE(64n, 32);
  file.writeUInt16LE(56, 54);
  file.writeUInt16LE(options.interpreter === undefined ? 2 : 3, 56);
  const segment = (index: number, type: number, at: number, size: number): void => {
    const header = 64 + index * 56;
    file.writeUInt32LE(type, header);
    file.writeBigUInt64LE(BigInt(at), header + 8);
    file.writeBigUInt64LE(BigInt(base + at), header + 16);
    file.writeBigUInt64LE(BigInt(size), header + 32);
  };
  segment(0, 1, 0, file.length);
  segment(1, 2, dynamicAt, tags.length * 16);
  if (options.interpreter !== undefined) segment(2, 3, interpreterAt, interpreter.length);
  strings.copy(file, stringsAt);
  interpreter.copy(file, interpreterAt);
  for (const [index, [tag, value]] of tags.entries()) {
    file.writeBigUInt64LE(BigInt(tag), dynamicAt + index * 16);
    file.writeBigUInt64LE(BigInt(value), dynamicAt + index * 16 + 8);
  }
  return file;
}

describe('readLinkage', () => {
  it('gives the libraries in order and the interpreter', () => {
    const file = tinyElf({ needed: ['libb.so.2', 'liba.so.1'], interpreter: '/lib64/ld.so' });
    expect(readLinkage(file)).toEqual({ needed: ['libb.so.2', 'liba.so.1'], interpreter: '/lib64/ld.so' });
  });

  it('gives no interpreter for a library', () => {
    expect(readLinkage(tinyElf({ needed: ['libc.so.6'] })).interpreter).toBeUndefined();
  });

  it('reads a program of this host', () => {
    const { needed, interpreter } = readLinkage(readFileSync('/bin/sh'));
    expect(needed.some((name) => name.startsWith('libc.'))).toBe(true);
    expect(interpreter).toContain('ld');
  });

  it('refuses what is not an ELF file', () => {
    expect(() => readLinkage(Buffer.from('#!/bin/sh\n'))).toThrow(RangeError);
  });

  it('throws a RangeError for any damage, and never hangs', () => {
    const whole = tinyElf({ needed: ['liba.so.1', 'libb.so.2'], interpreter: '/lib/ld.so' });
    const damage = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 8 });
    fc.assert(
      fc.property(fc.nat(whole.length), damage, (length, changes) => {
        const file = Buffer.from(whole);
        for (const [at, value] of changes) file[at] = value;
        try {
          readLinkage(file.subarray(0, length));
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('readSection', () => {
  it('gives the bytes of a section of a program of this host', () => {
    expect(readSection(readFileSync('/bin/sh'), '.interp')?.toString('latin1')).toMatch(/^\/lib.*ld.*\0$/);
  });

  it('gives undefined for a section that is not there', () => {
    expect(readSection(readFileSync('/bin/sh'), '.no-such-section')).toBeUndefined();
  });
});
