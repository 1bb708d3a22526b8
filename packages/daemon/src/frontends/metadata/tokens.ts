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

/** A salt, so that no two tokens are the same and base64url has no bits to spare, and the time at which it expires. */
const saltBytes = 2;
const claimBytes = saltBytes + 8;
const hashBytes = 32;
const form = /^[A-Za-z0-9_-]{56}$/;

/** `nowMs` is monotonic, so that a clock that is set harms nothing. */
export function createTokens(nowMs: () => number = () => performance.now()): Tokens {
  const secret = randomBytes(32);

  const seal = (guest: string, claim: Uint8Array): Buffer =>
    createHmac('sha256', secret).update(claim).update(guest).digest();

  return {
    issue: (guest, ttlSeconds) => {
      const claim = randomBytes(claimBytes);
      claim.writeBigUInt64BE(BigInt(Math.round(nowMs() + ttlSeconds * 1000)), saltBytes);
      return Buffer.concat([claim, seal(guest, claim)]).toString('base64url');
    },

    secondsLeft: (guest, token) => {
      if (!form.test(token)) return undefined;
      const bytes = Buffer.from(token, 'base64url');
      if (bytes.length !== claimBytes + hashBytes) return undefined;
      const claim = bytes.subarray(0, claimBytes);
      if (!timingSafeEqual(seal(guest, claim), bytes.subarray(claimBytes))) return undefined;
      const leftMs = Number(claim.readBigUInt64BE(saltBytes)) - nowMs();
      return leftMs > 0 ? Math.floor(leftMs / 1000) : undefined;
    },
  };
}
