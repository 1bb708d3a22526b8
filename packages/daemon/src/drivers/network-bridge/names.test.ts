import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createNames, linkLocalOf, macFor } from './names.ts';

describe('names on the host', () => {
  const names = createNames('main');

  it('fit where the kernel has room for 15 characters, and are the same every time', () => {
    expect(names.bridge('N1')).toMatch(/^wb[a-z2-7]{10}$/);
    expect(names.port({ instance: 'I1', nic: 'nic0' })).toMatch(/^wt[a-z2-7]{10}$/);
    expect(createNames('main').bridge('N1')).toBe(names.bridge('N1'));
    expect(names.ofUplink('vlan', 'N1')).toMatch(/^wv/);
  });

  it('differ by daemon, by what they are of, and where words run together', () => {
    expect(createNames('other').bridge('N1')).not.toBe(names.bridge('N1'));
    expect(names.port({ instance: 'a', nic: 'bc' })).not.toBe(names.port({ instance: 'ab', nic: 'c' }));
    const many = Array.from({ length: 5_000 }, (_none, index) =>
      names.port({ instance: `I${index}`, nic: 'nic0' }),
    );
    expect(new Set(many).size).toBe(5_000);
  });

  it('tell ours from others’ by alias, and without one by name', () => {
    const name = names.bridge('N1');
    expect(names.isOurs({ name, alias: names.alias('bridge', 'N1') })).toBe(true);
    expect(names.isOurs({ name })).toBe(true);
    expect(names.isOurs({ name, alias: 'wirt:other:network:N1' })).toBe(false);
    expect(names.isOurs({ name, alias: 'wirt:main2:network:N1' })).toBe(false);
    expect(names.isOurs({ name: 'wbr0' })).toBe(false);
    expect(names.isOurs({ name: createNames('other').bridge('N1') })).toBe(false);
    expect(names.alias('port', 'I1', 'nic0')).toBe('wirt:main:port:I1:nic0');
  });

  it('have MAC addresses of one machine alone, and the link-local addresses of those', () => {
    fc.assert(
      fc.property(fc.string(), (word) => {
        expect(macFor(word)).toMatch(/^02(:[0-9a-f]{2}){5}$/);
      }),
    );
    expect(linkLocalOf('02:11:22:33:44:55')).toBe('fe80::11:22ff:fe33:4455');
  });
});
