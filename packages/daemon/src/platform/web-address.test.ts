import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressProblem, checkedUrl, redirected, shownUrl } from './web-address.ts';

const anywhere = { plainHttp: true, loopback: true };
const careful = { plainHttp: false, loopback: false };

describe('an address that is asked', () => {
  it.each([
    'http://169.254.169.254/latest/meta-data/',
    'http://2852039166/',
    'http://0xa9fea9fe/',
    'http://0251.0376.0251.0376/',
    'http://169.254.1/',
    'http://[::ffff:169.254.169.254]/',
    'http://[::ffff:a9fe:a9fe]/',
    'http://[::169.254.169.254]/',
    'http://[64:ff9b::169.254.169.254]/',
    'http://[2002:a9fe:a9fe::1]/',
    'http://[fe80::1]/',
    'http://[febf::1]/',
    'http://[fd00:ec2::254]/',
    'http://[ff02::1]/',
    'http://[::]/',
    'http://0.0.0.0/',
    'http://0/',
    'http://224.0.0.1/',
    'http://255.255.255.255/',
    'http://100.100.100.200/',
    'http://168.63.129.16/',
  ])('is never %s, however it is written', (url) => {
    expect(() => checkedUrl(url, anywhere)).toThrow('is a link-local, metadata or reserved address');
  });

  it.each([
    'http://127.0.0.1/',
    'http://127.9.9.9/',
    'http://2130706433/',
    'http://[::1]/',
    'http://[::ffff:127.0.0.1]/',
  ])('is this host itself, as %s, only where that is allowed', (url) => {
    expect(() => checkedUrl(url, careful)).toThrow('is this host itself');
    expect(checkedUrl(url, { ...careful, loopback: true }).protocol).toBe('http:');
  });

  it('may be any other, of the local network too', () => {
    for (const address of [
      '93.184.216.34',
      '10.1.2.3',
      '192.168.1.1',
      '2001:db8::1',
      'fd12::1',
      '64:ff9b::5db8:d822',
    ]) {
      expect(addressProblem(address, careful), address).toBeUndefined();
    }
  });

  it('is https, or http where what comes can be checked or the host is this one', () => {
    expect(() => checkedUrl('http://example.org/x', { plainHttp: false, loopback: true })).toThrow(
      'Over http anybody',
    );
    expect(checkedUrl('http://example.org/x', anywhere).host).toBe('example.org');
    expect(checkedUrl('http://localhost:8080/x', { plainHttp: false, loopback: true }).port).toBe('8080');
    expect(checkedUrl('https://example.org/x', careful).host).toBe('example.org');
    for (const url of ['ftp://example.org/x', 'file:///etc/passwd', 'data:,x', 'unix:/run/x']) {
      expect(() => checkedUrl(url, anywhere), url).toThrow('Only https and http');
    }
    expect(() => checkedUrl('example.org/x', anywhere)).toThrow('It is no address');
  });

  it('has no user name and no password', () => {
    for (const url of ['https://user@host/', 'https://user:pass@host/', 'https://:pass@host/']) {
      expect(() => checkedUrl(url, anywhere), url).toThrow('user name or password');
    }
  });
});

describe('a redirect', () => {
  const from = new URL('https://example.org/a/b');

  it('is followed to another host and to another path', () => {
    expect(redirected(from, 'https://mirror.example/x', careful).href).toBe('https://mirror.example/x');
    expect(redirected(from, '../c', careful).href).toBe('https://example.org/c');
    expect(redirected(new URL('http://example.org/'), 'https://example.org/', anywhere).protocol).toBe(
      'https:',
    );
  });

  it.each([
    ['http://example.org/a/b', 'from https to http'],
    ['//127.0.0.1/x', 'is this host itself'],
    ['https://169.254.169.254/', 'link-local'],
    ['https://user:pass@example.org/', 'user name or password'],
    ['file:///etc/passwd', 'Only https and http'],
    ['https://', 'no address'],
  ])('to %s is not followed', (location, why) => {
    const rules = { plainHttp: true, loopback: false };
    expect(() => redirected(from, location, rules)).toThrow(why);
  });
});

describe('an address that is shown', () => {
  it('has no password and no query, whatever it is', () => {
    expect(shownUrl('https://user:hunter2@host:8443/a/b?X-Signature=hunter2#hunter2')).toBe(
      'https://host:8443/a/b?…',
    );
    expect(shownUrl('hunter2')).toBe('the address');
    const secret = fc.stringMatching(/^[a-zA-Z0-9]{12}$/);
    fc.assert(
      fc.property(fc.webUrl(), secret, (url, word) => {
        const shown = shownUrl(`${url.replace('://', `://user:${word}@`)}?x=${word}#${word}`);
        expect(shown).not.toContain(word);
        expect(shown.length).toBeLessThanOrEqual(301);
      }),
    );
  });
});
