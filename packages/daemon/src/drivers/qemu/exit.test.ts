import { describe, expect, it } from 'vitest';
import { parseExitFile } from './exit.ts';
import { lastLineOf } from './logs.ts';

describe('the exit file', () => {
  it.each([
    ['0\n', { kind: 'exited', code: 0 }],
    ['1\n', { kind: 'exited', code: 1 }],
    ['137\n', { kind: 'signalled', signal: 'SIGKILL' }],
    ['139\n', { kind: 'signalled', signal: 'SIGSEGV' }],
    ['255\n', { kind: 'exited', code: 255 }],
  ])('%j is told as %j', (text, exit) => {
    expect(parseExitFile(text)).toEqual(exit);
  });

  it.each(['', '13', '137', 'x\n', '-1\n', '1\n2\n'])('%j is not complete', (text) => {
    expect(parseExitFile(text)).toBeUndefined();
  });
});

describe('the last line of a log', () => {
  it('is the last that says something, without its time', () => {
    const text = '2026-11-22T06:47:55.123456Z qemu-system-x86_64: no such device\n\n \n';
    expect(lastLineOf(text)).toBe('qemu-system-x86_64: no such device');
  });

  it('has no control characters, and an end', () => {
    expect(lastLineOf(`\u001b[31mred\u0007\n`)).toBe('[31mred');
    expect(lastLineOf('x'.repeat(10_000))).toHaveLength(500);
    expect(lastLineOf('')).toBe('');
  });
});
