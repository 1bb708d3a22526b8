/**
 * Hashes a password as crypt(3) does with `$6$`, so that it never leaves this process in clear. Source: Ulrich Drepper's "Unix
 * crypt using SHA-256 and SHA-512", whose test vectors hold.
 */
import { createHash, randomBytes } from 'node:crypto';

const alphabet = './0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const defaultRounds = 5000;
/** A tenth of a second for who logs in, some ten times that under software emulation; thirteen times the default for who guesses. */
const strongRounds = 65_536;

/** With a salt of its own, 96 random bits. */
export function hashPassword(password: string): string {
  const salt = Array.from(randomBytes(16), (byte) => alphabet[byte & 63]).join('');
  return sha512Crypt(password, salt, strongRounds);
}

/** At most 16 characters of the salt count; the rounds are put between 1000 and 999,999,999. */
export function sha512Crypt(password: string, salt: string, rounds?: number): string {
  const key = Buffer.from(password, 'utf8');
  const salted = Buffer.from(salt, 'utf8').subarray(0, 16);
  const count = Math.min(Math.max(rounds ?? defaultRounds, 1000), 999_999_999);

  const inner = sha512(key, salted, key);
  let digest = sha512(key, salted, stretch(inner, key.length), ...bitsOf(key.length, inner, key));
  const keyPart = stretch(sha512(...Array<Buffer>(key.length).fill(key)), key.length);
  const saltRepeats = 16 + (digest[0] ?? 0);
  const saltPart = stretch(sha512(...Array<Buffer>(saltRepeats).fill(salted)), salted.length);
  for (let round = 0; round < count; round += 1) {
    const odd = round % 2 === 1;
    const hash = createHash('sha512').update(odd ? keyPart : digest);
    if (round % 3 !== 0) hash.update(saltPart);
    if (round % 7 !== 0) hash.update(keyPart);
    digest = hash.update(odd ? digest : keyPart).digest();
  }
  const prefix = rounds === undefined ? '' : `rounds=${count}$`;
  return `$6$${prefix}${salted.toString('utf8')}$${encode(digest)}`;
}

function sha512(...parts: readonly Buffer[]): Buffer {
  const hash = createHash('sha512');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/** The bytes over and over, to that length. */
function stretch(bytes: Buffer, length: number): Buffer {
  return Buffer.alloc(length, bytes);
}

/** One part for each bit of the length, the lowest first: `one` for 1, `zero` for 0. */
function bitsOf(length: number, one: Buffer, zero: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  for (let rest = length; rest > 0; rest >>= 1) parts.push(rest % 2 === 1 ? one : zero);
  return parts;
}

/** Three bytes to four letters, low bits first; byte n goes with those a third and two thirds on, in turning order. */
function encode(digest: Buffer): string {
  let text = '';
  const letters = (value: number, count: number): void => {
    for (let at = 0; at < count; at += 1) text += alphabet[(value >> (6 * at)) & 63];
  };
  for (let at = 0; at < 21; at += 1) {
    const three = [digest[at] ?? 0, digest[at + 21] ?? 0, digest[at + 42] ?? 0] as const;
    const turned = at % 3;
    // The table of the specification: (0,21,42) (22,43,1) (44,2,23) (3,24,45) …
    const [high, middle, low] = [
      three[turned] ?? 0,
      three[(turned + 1) % 3] ?? 0,
      three[(turned + 2) % 3] ?? 0,
    ];
    letters((high << 16) | (middle << 8) | low, 4);
  }
  letters(digest[63] ?? 0, 2);
  return text;
}
