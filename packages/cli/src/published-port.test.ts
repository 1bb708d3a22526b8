import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isAt, parsePublished, parsePublishedPlace, publishedText } from './published-port.ts';

describe('a published port', () => {
  it.each([
    ['8080:80', { protocol: 'tcp', hostPort: 8080, guestPort: 80 }],
    ['53:5353/udp', { protocol: 'udp', hostPort: 53, guestPort: 5353 }],
    ['127.0.0.1:8080:80/tcp', { protocol: 'tcp', hostAddress: '127.0.0.1', hostPort: 8080, guestPort: 80 }],
    ['[fd12::1]:443:443', { protocol: 'tcp', hostAddress: 'fd12::1', hostPort: 443, guestPort: 443 }],
  ])('is read from %s', (text, published) => {
    expect(parsePublished(text)).toEqual(published);
  });

  it.each([
    ['80', 'needs both ports, of the host and of the guest: 80:80'],
    ['1:2:3', 'takes HOST:GUEST such as'],
    ['fd12::1:443:443', 'takes HOST:GUEST such as'],
    ['8080:80/sctp', 'takes HOST:GUEST such as'],
    ['8080:65536', 'has ports from 1 to 65535'],
    ['', 'takes HOST:GUEST such as'],
  ])('is not read from %j', (text, reason) => {
    expect(() => parsePublished(text)).toThrow(reason);
  });

  it('is found by its port of the host, and by as much more as is said', () => {
    const udp = parsePublished('10.0.0.1:53:5353/udp');
    for (const place of ['53/udp', '10.0.0.1:53/udp', '53:5353/udp'])
      expect(isAt(udp, parsePublishedPlace(place))).toBe(true);
    for (const place of ['53', '10.0.0.2:53/udp', '53:53/udp', '54/udp'])
      expect(isAt(udp, parsePublishedPlace(place))).toBe(false);
  });

  it('is written as it is read', () => {
    const port = fc.integer({ min: 1, max: 65_535 });
    const anyPublished = fc.record({
      protocol: fc.constantFrom('tcp' as const, 'udp' as const),
      hostAddress: fc.option(fc.oneof(fc.ipV4(), fc.constantFrom('::', 'fd12::9', '::ffff:10.0.0.1')), {
        nil: undefined,
      }),
      hostPort: port,
      guestPort: port,
    });
    fc.assert(
      fc.property(anyPublished, (published) => {
        expect(parsePublished(publishedText(published))).toEqual(published);
      }),
    );
  });
});
