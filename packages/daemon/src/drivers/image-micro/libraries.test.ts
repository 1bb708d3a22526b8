import { describe, expect, it } from 'vitest';
import { dependencyNames, libraryClosure, likelyPackages } from './libraries.ts';

const library = (...needed: string[]) => ({ needed, interpreter: undefined });

describe('libraryClosure', () => {
  it('follows libraries of libraries, each once, circles too', () => {
    const libraries = new Map([
      ['liba.so.1', library('libb.so.1', 'libc.so.6')],
      ['libb.so.1', library('liba.so.1')],
      ['libc.so.6', library('ld.so.2')],
      ['ld.so.2', library()],
      ['libunused.so.1', library()],
    ]);
    const program = { needed: ['liba.so.1'], interpreter: '/lib64/ld.so.2' };
    expect(libraryClosure(program, (soname) => libraries.get(soname))).toEqual({
      found: ['ld.so.2', 'liba.so.1', 'libb.so.1', 'libc.so.6'],
      missing: [],
    });
  });

  it('names what is missing, the interpreter too', () => {
    const program = { needed: ['liba.so.1'], interpreter: '/lib64/ld.so.2' };
    const closure = libraryClosure(program, (soname) =>
      soname === 'liba.so.1' ? library('libz.so.1') : undefined,
    );
    expect(closure).toEqual({ found: ['liba.so.1'], missing: ['ld.so.2', 'libz.so.1'] });
  });
});

describe('likelyPackages', () => {
  it.each([
    ['libc.so.6', 'libc6'],
    ['libpcre2-8.so.0', 'libpcre2-8-0'],
    ['libglib-2.0.so.0', 'libglib2.0-0'],
    ['libglib-2.0.so.0', 'libglib2.0-0t64'],
    ['liburing.so.2', 'liburing2'],
  ])('looks for %s in %s only', (soname, name) => {
    expect(likelyPackages([soname], ['libother1', name, 'init-system-helpers'])).toEqual([name]);
  });

  it('looks into every library when no name fits, and into nothing else', () => {
    expect(likelyPackages(['libodd.so'], ['libx1', 'liby2', 'perl'])).toEqual(['libx1', 'liby2']);
  });
});

describe('dependencyNames', () => {
  it('takes the first of alternatives, without versions and architectures', () => {
    const depends =
      'libc6 (>= 2.34), libglib2.0-0:any (>= 2.63.3), initramfs-tools (>= 0.120) | linux-initramfs-tool,';
    expect(dependencyNames(depends)).toEqual(['libc6', 'libglib2.0-0', 'initramfs-tools']);
  });
});
