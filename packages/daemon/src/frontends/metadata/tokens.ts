/**
 * Session tokens of IMDSv2: an expiry and a keyed hash of it with the guest's id. Nothing is kept of them: a token is good for its guest until it
 * expires or wirtd ends.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

export const maxTtlSeconds = 21_600;

export interface Tokens {
  issue(guest: string, ttlSeconds: number): string;
  /** Whole seconds that are left; undefined when it is not a token of this guest, or no longer. */
  secondsLeft(guest: string, token: string): number | undefined;
}

const expiryBytes = 8;
const hashBytes = 32;
/** In base64url, which 40 bytes take without padding. */
const form = /^[A-Za-z0-9_-]{54}$/;

/** `nowMs` is monotonic, so that a clock that is set harms nothing. */
export function createTokens(nowMs: () => number = () => performance.now()): Tokens {
  const secret = randomBytes(32);

  const seal = (guest: string, expiry: Uint8Array): Buffer =>
    createHmac('sha256', secret).update(expiry).update(guest).digest();

  return {
    issue: (guest, ttlSeconds) => {
      const expiry = Buffer.alloc(expiryBytes);
      expiry.writeBigUInt64BE(BigInt(Math.round(nowMs() + ttlSeconds * 1000)));
      return Buffer.concat([expiry, seal(guest, expiry)]).toString('base64url');
    },

    secondsLeft: (guest, token) => {
      if (!form.test(token)) return undefined;
      const bytes = Buffer.from(token, 'base64url');
      if (bytes.length !== expiryBytes + hashBytes) return undefined;
      const expiry = bytes.subarray(0, expiryBytes);
      if (!timingSafeEqual(seal(guest, expiry), bytes.subarray(expiryBytes))) return undefined;
      const leftMs = Number(expiry.readBigUInt64BE()) - nowMs();
      return leftMs > 0 ? Math.floor(leftMs / 1000) : undefined;
    },
  };
}
