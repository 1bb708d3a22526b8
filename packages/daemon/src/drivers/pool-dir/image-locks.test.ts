import { expect, it } from 'vitest';
import { hasImageLock } from './image-locks.ts';

const locks = [
  '1: POSIX  ADVISORY  WRITE 812 00:1a:77 0 EOF',
  '2: OFDLCK ADVISORY  READ -1 fe:00:2269365 203 203',
  '3: OFDLCK ADVISORY  READ -1 fe:00:2269365 100 101',
  '3: -> OFDLCK ADVISORY  READ -1 103:00005:12 100 101',
  '4: FLOCK  ADVISORY  WRITE 9 fe:00:400 0 EOF',
  '5: OFDLCK ADVISORY  READ -1 103:00005:13 201 201',
  '',
].join('\n');

const device = (major: bigint, minor: bigint): bigint =>
  (minor & 0xffn) | ((major & 0xfffn) << 8n) | ((minor & ~0xffn) << 12n);

it('knows an image that QEMU has open by its locks', () => {
  expect(hasImageLock(locks, { dev: device(0xfen, 0n), ino: 2_269_365n })).toBe(true);
});

it.each([
  ['another file', device(0xfen, 0n), 2_269_366n],
  ['the same number on another file system', device(0xfdn, 0n), 2_269_365n],
  ['a lock over the whole file', device(0n, 0x1an), 77n],
  ['a lock of another kind', device(0xfen, 0n), 400n],
])('is not misled by %s', (_, dev, ino) => {
  expect(hasImageLock(locks, { dev, ino })).toBe(false);
});

it('is not misled by a /proc/locks of another shape', () => {
  for (const text of ['', 'nonsense', '1:', '\n\n', '1: OFDLCK ADVISORY READ -1 fe:00:7'])
    expect(hasImageLock(text, { dev: device(0xfen, 0n), ino: 7n })).toBe(false);
});
