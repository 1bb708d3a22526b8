import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseIndex, parseProducts } from './document.ts';
import { pathProblem, urlBelow } from './path.ts';
import { indexProducts } from './resolve.ts';
import { compareVersions } from './version.ts';

const sha = 'A'.repeat(64);
const disk = (path: string, ftype = 'disk-kvm.img', more: object = {}) => ({
  ftype,
  path,
  size: 1000,
  sha256: sha,
  ...more,
});
const versions = (...names: string[]) =>
  Object.fromEntries(
    names.map((name) => [name, { items: { 'disk.qcow2': disk(`images/${name}/disk.qcow2`) } }]),
  );
const containersOnly = {
  '20240101_05:24': {
    items: { 'rootfs.squashfs': { ...disk('images/c/rootfs.squashfs'), ftype: 'squashfs' } },
  },
};

const incus = (os: string, release: string, variant: string, more: object = {}) => {
  const name = `${os.toLowerCase()}/${release}`;
  return {
    aliases: variant === 'default' ? `${name}/default,${name}` : `${name}/${variant}`,
    arch: 'amd64',
    os,
    release,
    release_title: release,
    variant,
    versions: versions('20240101_05:24', '20240102_05:24'),
    ...more,
  };
};

const ubuntu = (release: string, version: string, aliases: string, items: object) => ({
  aliases,
  arch: 'amd64',
  os: 'ubuntu',
  release,
  release_title: `${version} LTS`,
  version,
  versions: { '20240423': { items }, '20240423.1': { items } },
});

const asDocument = (products: object) => JSON.stringify({ format: 'products:1.0', products });
const read = (products: object) => parseProducts(asDocument(products), 'here');
const index = (products: object, arch = 'amd64') => indexProducts(read(products), arch);

const incusProducts = {
  'debian:12:amd64:cloud': incus('Debian', '12', 'cloud', {
    aliases: 'debian/bookworm/cloud,debian/12/cloud',
    release: 'bookworm',
    release_title: '12',
  }),
  'debian:12:amd64:default': incus('Debian', '12', 'default'),
  'debian:12:arm64:cloud': incus('Debian', '12', 'cloud', { arch: 'arm64' }),
  'alpine:edge:amd64:default': incus('Alpine', 'edge', 'default'),
  'void:edge:amd64:default': incus('Void', 'edge', 'default', { versions: containersOnly }),
  'centos:9:arm64:cloud': incus('CentOS', '9', 'cloud', { arch: 'arm64' }),
  'archlinux:current:amd64:cloud': incus('Archlinux', 'current', 'cloud', { aliases: 'archlinux/cloud' }),
};

const ubuntuProducts = {
  'com.ubuntu.cloud:server:24.04:amd64': ubuntu('noble', '24.04', '24.04,default,lts,n,noble', {
    'lxd.tar.xz': { ftype: 'lxd.tar.xz', path: 'server/x', size: 1, sha256: sha },
    'uefi1.img': disk('server/noble/uefi1.img', 'uefi1.img'),
    'disk-kvm.img': disk('server/noble/kvm.img', 'disk-kvm.img'),
    'disk1.img': disk('server/noble/disk1.img', 'disk1.img'),
  }),
  'com.ubuntu.cloud:server:16.04:amd64': ubuntu('xenial', '16.04', '16.04,x,xenial', {
    'uefi1.img': disk('server/xenial/uefi1.img', 'uefi1.img'),
  }),
};

describe('a name in a catalogue', () => {
  it('of Incus means the cloud image in its newest version, which boots by UEFI', () => {
    for (const name of [
      'debian/12',
      'debian/bookworm',
      'Debian/12/cloud',
      'bookworm',
      'debian:12:amd64:cloud',
    ]) {
      expect(index(incusProducts).resolve(name), name).toEqual({
        product: 'debian:12:amd64:cloud',
        version: '20240102_05:24',
        item: {
          path: 'images/20240102_05:24/disk.qcow2',
          sizeBytes: 1000,
          sha256: 'a'.repeat(64),
          format: 'qcow2',
          ftype: 'disk-kvm.img',
        },
        title: 'Debian 12 (cloud)',
        firmware: ['uefi'],
        cloudInit: true,
      });
    }
  });

  it('may name the variant', () => {
    expect(index(incusProducts).resolve('debian/12/default')).toMatchObject({
      product: 'debian:12:amd64:default',
      title: 'Debian 12',
      cloudInit: false,
    });
  });

  it('is found without the system, or without a release, where only one image is meant', () => {
    expect(index(incusProducts).resolve('edge').product).toBe('alpine:edge:amd64:default');
    expect(index(incusProducts).resolve('archlinux').product).toBe('archlinux:current:amd64:cloud');
  });

  it('of Ubuntu means the disk that boots either way, by number, code name or alias', () => {
    for (const name of [
      'ubuntu/24.04',
      'ubuntu/noble',
      'noble',
      'ubuntu/lts',
      'default',
      'ubuntu/24.04/cloud',
    ]) {
      expect(index(ubuntuProducts).resolve(name), name).toMatchObject({
        product: 'com.ubuntu.cloud:server:24.04:amd64',
        version: '20240423.1',
        item: { path: 'server/noble/disk1.img', format: 'qcow2' },
        title: 'Ubuntu 24.04 LTS',
        firmware: ['bios', 'uefi'],
        cloudInit: true,
      });
    }
    expect(index(ubuntuProducts).resolve('xenial').firmware).toEqual(['uefi']);
  });

  it('is looked up for the processor, by any of its names', () => {
    expect(index(incusProducts, 'aarch64').resolve('debian/12').product).toBe('debian:12:arm64:cloud');
    const arm = {
      'com.ubuntu.cloud:server:24.04:arm64': {
        ...ubuntuProducts['com.ubuntu.cloud:server:24.04:amd64'],
        arch: 'arm64',
      },
    };
    expect(index(arm, 'arm64').resolve('noble').firmware).toEqual(['uefi']);
  });

  it('that fits several systems is ambiguous, and their full names are told', () => {
    const products = { ...incusProducts, 'x:12:amd64:cloud': incus('Xlinux', '12', 'cloud') };
    expect(() => index(products).resolve('12')).toThrow(
      expect.objectContaining({
        code: 'catalogue.ambiguous',
        hint: 'Use one of the full names: debian/12, xlinux/12',
      }),
    );
  });

  it('that fits variants without an order is ambiguous until the variant is named', () => {
    const products = {
      'mint:22:amd64:cinnamon': incus('Mint', '22', 'cinnamon'),
      'mint:22:amd64:xfce': incus('Mint', '22', 'xfce'),
    };
    expect(() => index(products).resolve('mint/22')).toThrow(
      expect.objectContaining({ hint: 'Use one of the full names: mint/22/cinnamon, mint/22/xfce' }),
    );
    expect(index(products).resolve('mint/22/xfce').product).toBe('mint:22:amd64:xfce');
  });

  it('that is mistyped is answered with the nearest one and the others of the system', () => {
    expect(() => index(incusProducts).resolve('debain/12')).toThrow(
      expect.objectContaining({ code: 'catalogue.not_found', hint: 'Did you mean debian/12?' }),
    );
    expect(() => index(incusProducts).resolve('debian/1')).toThrow(
      expect.objectContaining({
        details: expect.objectContaining({ names: expect.arrayContaining(['debian/12', 'debian/bookworm']) }),
      }),
    );
    expect(() => index(ubuntuProducts).resolve('nobel')).toThrow(
      expect.objectContaining({ hint: 'Did you mean noble?' }),
    );
  });

  it('says when an image is there for another processor, or for containers only', () => {
    expect(() => index(incusProducts).resolve('centos/9')).toThrow(
      'The catalogue has no image "centos/9" for amd64, only for arm64.',
    );
    expect(() => index(incusProducts).resolve('void/edge')).toThrow('for containers only');
  });

  it('never reaches a terminal as more than short text', () => {
    expect(() => index({}).resolve(`\u001b[31m${'x'.repeat(10_000)}`)).toThrow(/^.{1,160}$/);
  });
});

describe('the list of a catalogue', () => {
  it('has every image under a name that means it, in order', () => {
    const catalogue = index({ ...incusProducts, ...ubuntuProducts });
    const entries = catalogue.entries();
    expect(entries.map(({ name, cloudInit }) => `${name} ${cloudInit}`)).toEqual([
      'alpine/edge false',
      'archlinux true',
      'debian/12 true',
      'debian/12/default false',
      'ubuntu/16.04 true',
      'ubuntu/24.04 true',
    ]);
    for (const { name, product } of entries) expect(catalogue.resolve(name).product).toBe(product);
    expect(entries[2]).toMatchObject({ otherNames: ['debian/bookworm', 'bookworm', '12'], sizeBytes: 1000 });
  });
});

describe('a hostile catalogue', () => {
  const withItem = (item: object) => ({
    'debian:12:amd64:cloud': incus('Debian', '12', 'cloud', {
      versions: {
        '20240101': { items: { good: disk('images/old.qcow2') } },
        '20240102': { items: { bad: { ...disk('images/x.qcow2'), ...item } } },
      },
    }),
  });

  it.each([
    ['an absolute path', { path: '/etc/passwd' }, 'is not relative'],
    ['a path that leaves the catalogue', { path: 'images/../../x' }, 'leads elsewhere'],
    ['an address as path', { path: 'http://169.254.169.254/x' }, 'leads elsewhere'],
    ['another host as path', { path: '//host/x' }, 'is not relative'],
    ['a backslash', { path: 'images\\..\\x' }, 'characters that no path has'],
    ['a query', { path: 'images/x?y' }, 'characters that no path has'],
    ['no path', { path: 7 }, 'is missing'],
    ['a long path', { path: 'x/'.repeat(300) }, 'longer than 500'],
    ['no size', { size: undefined }, 'size'],
    ['a size of nothing', { size: 0 }, 'size'],
    ['a negative size', { size: -1 }, 'size'],
    ['a fractional size', { size: 1.5 }, 'size'],
    ['a size as text', { size: '1000' }, 'size'],
    ['a size beyond reason', { size: 2 ** 50 }, 'size'],
    ['no checksum', { sha256: undefined }, 'no SHA-256'],
    ['a short checksum', { sha256: 'abc' }, 'no SHA-256'],
    ['a checksum with other letters', { sha256: 'g'.repeat(64) }, 'no SHA-256'],
  ])('with %s is refused by name, and no older version takes its place', (_what, item, why) => {
    const catalogue = index(withItem(item));
    expect(() => catalogue.resolve('debian/12')).toThrow(
      expect.objectContaining({ code: 'catalogue.malformed', message: expect.stringContaining(why) }),
    );
    expect(catalogue.entries()).toEqual([]);
  });

  it.each([
    ['no JSON', '<html>'],
    ['another format', '{"format":"products:2.0","products":{}}'],
    ['no products', '{"format":"products:1.0"}'],
    ['products as a list', '{"format":"products:1.0","products":[]}'],
    ['too many products', asDocument(Object.fromEntries(Array.from({ length: 10_001 }, (_, n) => [n, {}])))],
    ['endless nesting', '['.repeat(1_000_000)],
  ])('with %s is refused as malformed', (_what, text) => {
    expect(() => parseProducts(text, 'here')).toThrow(
      expect.objectContaining({ code: 'catalogue.malformed' }),
    );
    expect(() => parseProducts(text, 'here')).toThrow(/^here is no simplestreams document/);
  });

  it('cannot put terminal codes or writing from right to left into titles and names', () => {
    const products = read({
      a: incus('Debian', '12', 'cloud', { release_title: '12\u001b[2J' }),
      b: incus('Debian', '13', 'cloud', { release: '13', release_title: '\u202e21' }),
      c: incus('De\u001bbian', '12', 'cloud'),
      'd\u0007': incus('Debian', '12', 'cloud'),
    });
    expect(products.map(({ title }) => title)).toEqual(['Debian 12 (cloud)', 'Debian 13 (cloud)']);
  });

  it('with thousands of products of the same names is read in a moment', () => {
    const aliases = Array.from({ length: 64 }, (_, n) => `debian/${n}`).join(',');
    const products: Record<string, object> = {};
    for (let n = 0; n < 5_000; n += 1) products[`p${n}`] = incus('Debian', '12', 'cloud', { aliases });
    const began = performance.now();
    const catalogue = index(products);
    expect(catalogue.entries()).toHaveLength(5_000);
    expect(() => catalogue.resolve('debian/1')).toThrow('Several images');
    expect(() => catalogue.resolve('nothing/like-that')).toThrow('has no image');
    expect(performance.now() - began).toBeLessThan(5_000);
  });

  it('of any content gives either images that can be fetched safely or an error of the catalogue', () => {
    const word = fc.oneof(
      fc.constantFrom(
        'debian',
        '12',
        'cloud',
        'amd64',
        'disk1.img',
        'disk-kvm.img',
        sha,
        'a/b',
        '../x',
        '__proto__',
      ),
      fc.string(),
    );
    const value = fc.oneof(word, fc.integer(), fc.double(), fc.boolean(), fc.constant(null));
    const item = fc.record(
      { ftype: word, path: word, size: fc.oneof(value, fc.nat()), sha256: word },
      { requiredKeys: [] },
    );
    const version = fc.oneof(
      value,
      fc.record({ items: fc.oneof(value, fc.dictionary(word, fc.oneof(value, item))) }),
    );
    const product = fc.record(
      {
        os: value,
        arch: word,
        aliases: value,
        release: value,
        variant: value,
        versions: fc.dictionary(word, version),
      },
      { requiredKeys: [] },
    );
    const products = fc.oneof(value, fc.dictionary(word, fc.oneof(value, product)));
    fc.assert(
      fc.property(products, word, (content, name) => {
        const text = JSON.stringify({ format: 'products:1.0', products: content });
        try {
          const catalogue = indexProducts(parseProducts(text, 'here'), 'amd64');
          for (const entry of catalogue.entries()) {
            const { item: found } = catalogue.resolve(entry.name);
            expect(new URL(urlBelow('https://host/root', found.path)).href).toMatch(
              /^https:\/\/host\/root\/./,
            );
          }
          catalogue.resolve(name);
        } catch (error) {
          expect(error).toMatchObject({ code: expect.stringMatching(/^catalogue\./) });
        }
      }),
    );
  });
});

describe('an index', () => {
  const entry = (more: object = {}) => ({ datatype: 'image-downloads', format: 'products:1.0', ...more });
  const text = (entries: object) => JSON.stringify({ format: 'index:1.0', index: entries });

  it('gives the files that have images to download, once each', () => {
    const entries = {
      'com.ubuntu.cloud:released:aws': { datatype: 'image-ids', path: 'streams/v1/aws.json' },
      'com.ubuntu.cloud:released:download': entry({
        path: 'streams/v1/com.ubuntu.cloud:released:download.json',
      }),
      again: entry({ path: 'streams/v1/com.ubuntu.cloud:released:download.json' }),
    };
    expect(parseIndex(text(entries), 'here')).toEqual(['streams/v1/com.ubuntu.cloud:released:download.json']);
  });

  it.each([
    ['a path that leads elsewhere', text({ a: entry({ path: '../../x' }) })],
    ['no path', text({ a: entry() })],
    [
      'endless files',
      text(Object.fromEntries(Array.from({ length: 17 }, (_, n) => [n, entry({ path: `p${n}` })]))),
    ],
    ['no index', '{"format":"index:1.0"}'],
    ['no JSON', 'not found'],
  ])('with %s is malformed', (_what, content) => {
    expect(() => parseIndex(content, 'here')).toThrow(
      expect.objectContaining({ code: 'catalogue.malformed' }),
    );
  });
});

describe('a path of a catalogue', () => {
  it('stays below the root in any address, whatever is in it', () => {
    const piece = fc.oneof(
      fc.constantFrom(
        '..',
        '.',
        '%2e%2e',
        '%2E.',
        '/',
        '//',
        '\\',
        'a',
        ':',
        'http:',
        '?',
        '#',
        '\u0000',
        ' ',
      ),
      fc.string({ unit: 'binary' }),
    );
    fc.assert(
      fc.property(fc.array(piece, { minLength: 1, maxLength: 6 }), (pieces) => {
        const path = pieces.join('');
        if (pathProblem(path) !== undefined) return;
        const { href } = new URL(urlBelow('https://host/root/', path));
        expect(href.startsWith('https://host/root/')).toBe(true);
        expect(decodeURIComponent(href.slice('https://host/root/'.length))).toBe(path);
      }),
    );
    expect(urlBelow('https://host', 'images/20240101_05:24/a b%2e')).toBe(
      'https://host/images/20240101_05:24/a%20b%252e',
    );
  });
});

describe('versions', () => {
  it('are ordered as dates and numbers', () => {
    const sorted = [
      '20231211',
      '20231211.1',
      '20231211.9',
      '20231211.10',
      '20240101_05:24',
      '20240101_13:00',
      '20240423',
    ];
    expect(sorted.toReversed().sort(compareVersions)).toEqual(sorted);
  });

  it('have one order, whichever two are compared', () => {
    const version = fc.stringMatching(/^[0-9a._:]{1,12}$/);
    fc.assert(
      fc.property(version, version, version, (a, b, c) => {
        expect(Math.sign(compareVersions(a, b))).toBe(0 - Math.sign(compareVersions(b, a)));
        expect(compareVersions(a, b) === 0).toBe(a === b);
        if (compareVersions(a, b) < 0 && compareVersions(b, c) < 0)
          expect(compareVersions(a, c)).toBeLessThan(0);
      }),
    );
  });
});
