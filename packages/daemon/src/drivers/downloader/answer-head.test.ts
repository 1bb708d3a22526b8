import { describe, expect, it } from 'vitest';
import { hasEnd, lengthOf, rangeOf, retryAfterMs, unsatisfiedTotal, validatorOf } from './answer-head.ts';

describe('the version of a file', () => {
  it('is named by its ETag, unless that is weak or no ETag', () => {
    expect(validatorOf({ etag: '"abc-1"' })).toBe('"abc-1"');
    for (const etag of ['W/"abc"', 'abc', '"a"b"', '"a\r\nb"', `"${'x'.repeat(300)}"`]) {
      expect(validatorOf({ etag }), etag).toBeUndefined();
    }
  });

  it('is named by its date, once that cannot be shared by a later version', () => {
    const date = 'Sun, 22 Nov 2026 10:00:00 GMT';
    expect(validatorOf({ date, 'last-modified': 'Sun, 22 Nov 2026 09:58:59 GMT' })).toBe(
      'Sun, 22 Nov 2026 09:58:59 GMT',
    );
    expect(validatorOf({ date, 'last-modified': 'Sun, 22 Nov 2026 09:59:30 GMT' })).toBeUndefined();
    expect(validatorOf({ 'last-modified': 'Sun, 22 Nov 2026 09:58:59 GMT' })).toBeUndefined();
    expect(validatorOf({ date, 'last-modified': 'long ago' })).toBeUndefined();
    expect(
      validatorOf({ date, etag: 'W/"1"', 'last-modified': 'Sun, 22 Nov 2020 09:58:59 GMT' }),
    ).toBeUndefined();
  });
});

describe('a part of a file', () => {
  it.each([
    ['bytes 100-299/300', { firstByte: 100, totalBytes: 300 }],
    ['bytes 0-0/1', { firstByte: 0, totalBytes: 1 }],
    ['bytes 5-9/*', { firstByte: 5, totalBytes: undefined }],
    ['bytes 100-299/200', undefined],
    ['bytes 9-5/20', undefined],
    ['bytes */300', undefined],
    ['items 1-2/3', undefined],
    ['bytes 1-2/3, bytes 4-5/6', undefined],
    ['bytes -1-2/3', undefined],
    ['bytes 1-99999999999999999999/*', undefined],
    [undefined, undefined],
  ])('described as %s is understood, or left', (header, range) => {
    expect(rangeOf(header === undefined ? {} : { 'content-range': header })).toEqual(range);
  });

  it('that is not there tells the size', () => {
    expect(unsatisfiedTotal({ 'content-range': 'bytes */300' })).toBe(300);
    expect(unsatisfiedTotal({ 'content-range': 'bytes */*' })).toBeUndefined();
    expect(unsatisfiedTotal({})).toBeUndefined();
  });
});

describe('a body', () => {
  it('has an end when its length is said or it comes in chunks', () => {
    expect(hasEnd({ 'content-length': '0' })).toBe(true);
    expect(hasEnd({ 'transfer-encoding': 'chunked' })).toBe(true);
    expect(hasEnd({ 'content-length': '-1' })).toBe(false);
    expect(hasEnd({})).toBe(false);
    expect(lengthOf({ 'content-length': '12' })).toBe(12);
  });
});

describe('a server that asks to wait', () => {
  it('is waited for, for a minute at most', () => {
    expect(retryAfterMs({ 'retry-after': '7' })).toBe(7_000);
    expect(retryAfterMs({ 'retry-after': '86400' })).toBe(60_000);
    expect(retryAfterMs({ 'retry-after': 'Sun, 22 Nov 2026 10:00:00 GMT' })).toBe(0);
    expect(retryAfterMs({})).toBe(0);
  });
});
