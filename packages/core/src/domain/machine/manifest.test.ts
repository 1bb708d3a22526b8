import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readManifest, writeManifest } from './manifest.ts';

const sha1 = 'c3bd2579c2edc76ea35b5bde7d4f4e41eab08963';
const sha256 = '4aacc96f73bc1e0912414b80a576f62fa8d22386a2c34c489e88ee42ec71de9b';

describe('the manifest of an OVF package', () => {
  it('is read in both spellings, with every algorithm', () => {
    const text = `SHA1(a.ovf)= ${sha1}\r\nSHA256 (b disk.vmdk) = ${sha256.toUpperCase()}\n\nsha512(c)=${sha256}${sha256}\n`;
    expect(readManifest(text)).toEqual([
      { file: 'a.ovf', algorithm: 'sha1', digest: sha1 },
      { file: 'b disk.vmdk', algorithm: 'sha256', digest: sha256 },
      { file: 'c', algorithm: 'sha512', digest: `${sha256}${sha256}` },
    ]);
  });

  it('is refused, with the line, when it cannot be trusted to be whole', () => {
    const line = `SHA256(a)= ${sha256}\n`;
    expect(() => readManifest(`${line}${line}`)).toThrow('line 2: the file "a" is named twice');
    expect(() => readManifest(`SHA256(a)= ${sha1}`)).toThrow('line 1: the digest of "a" has a wrong length');
    expect(() => readManifest(`MD5(a)= ${sha1}`)).toThrow('the algorithm MD5 is not known');
    expect(() => readManifest(`${line}nonsense`)).toThrow('line 2: "nonsense" is no digest');
    expect(() => readManifest(`SHA1(../a)= ${sha1}`)).toThrow('no plain name inside its package');
  });

  it('is read back as it was written', () => {
    const entries = fc.uniqueArray(
      fc.record({
        file: fc.stringMatching(/^[A-Za-z0-9_-][A-Za-z0-9 ._-]{0,20}[A-Za-z0-9]$/),
        algorithm: fc.constant('sha256' as const),
        digest: fc.stringMatching(/^[0-9a-f]{64}$/),
      }),
      { selector: ({ file }) => file },
    );
    fc.assert(
      fc.property(entries, (all) => {
        expect(readManifest(writeManifest(all))).toEqual(all);
      }),
    );
  });
});
