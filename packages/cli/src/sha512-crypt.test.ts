import { execFileSync, spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { hashPassword, sha512Crypt } from './sha512-crypt.ts';

describe('a password', () => {
  it.each([
    // The vectors of the specification.
    [
      'Hello world!',
      'saltstring',
      undefined,
      '$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1',
    ],
    [
      'Hello world!',
      'saltstringsaltstring',
      10_000,
      '$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.',
    ],
    [
      'This is just a test',
      'toolongsaltstring',
      5000,
      '$6$rounds=5000$toolongsaltstrin$lQ8jolhgVRVhY4b5pZKaysCLi0QBxGoNeKQzQ3glMhwllF7oGDZxUhx1yxdYcz/e1JSbq3y6JMxxl8audkUEm0',
    ],
    [
      'a very much longer text to encrypt.  This one even stretches over morethan one line.',
      'anotherlongsaltstring',
      1400,
      '$6$rounds=1400$anotherlongsalts$POfYwTEok97VWcjxIiSOjiykti.o/pQs.wPvMxQ6Fm7I6IoYN3CmLs66x9t0oSwbtEW7o7UmJEiDwGqd8p4ur1',
    ],
    [
      'we have a short salt string but not a short password',
      'short',
      77_777,
      '$6$rounds=77777$short$WuQyW2YR.hBNpjjRhpYD/ifIw05xdfeEyQoMxIXbkvr0gge1a1x3yRULJ5CCaUeOxFmtlcGZelFl5CxtgfiAc0',
    ],
    [
      'a short string',
      'asaltof16chars..',
      123_456,
      '$6$rounds=123456$asaltof16chars..$BtCwjqMJGx5hrJhZywWvt0RLE8uZ4oPwcelCjmw2kSYu.Ec6ycULevoBK25fs2xXgMNrCzIMVcgEJAstJeonj1',
    ],
    [
      'the minimum number is still observed',
      'roundstoolow',
      10,
      '$6$rounds=1000$roundstoolow$kUMsbe306n21p9R.FRkW3IGn.S9NPN0x50YhH1xhLsPuWGsUSklZt58jaTfF4ZEQpyUNGc0dqbpBYYBaHHrsX.',
    ],
  ])(
    '%j with the salt %s and %s rounds is hashed as the specification has it',
    (password, salt, rounds, hash) => {
      expect(sha512Crypt(password, salt, rounds)).toBe(hash);
    },
  );

  it('gets a salt of its own, and rounds that make guessing slow', () => {
    const form = /^\$6\$rounds=65536\$([./0-9A-Za-z]{16})\$[./0-9A-Za-z]{86}$/;
    const salts = [1, 2].map(() => form.exec(hashPassword('secret'))?.[1]);
    expect(salts[0]).toBeDefined();
    expect(salts[0]).not.toBe(salts[1]);
  });

  // openssl is on most machines, and is a second opinion.
  it.skipIf(spawnSync('openssl', ['version']).status !== 0)(
    'is hashed as openssl does, at every length',
    () => {
      for (const password of [
        'x',
        'ä🦆',
        ...[63, 64, 65, 127, 128, 129, 255].map((length) => 'p'.repeat(length)),
      ]) {
        const args = ['passwd', '-6', '-salt', 'abcdefgh', '-stdin'];
        const theirs = execFileSync('openssl', args, { input: `${password}\n`, encoding: 'utf8' }).trim();
        expect(sha512Crypt(password, 'abcdefgh')).toBe(theirs);
      }
    },
  );
});
