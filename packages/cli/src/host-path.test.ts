import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { exportFormat, hostPath, nameFromFile, sourceOf, sourcePath } from './host-path.ts';
import { BadValue } from './units.ts';

describe('a file on the command line', () => {
  it('is made absolute, since wirtd is in another directory', () => {
    expect(hostPath('./a/../disk.img')).toBe(`${process.cwd()}/disk.img`);
    expect(hostPath('/srv/disk.img')).toBe('/srv/disk.img');
  });

  it('is a device by the name that people know it by', () => {
    expect(sourcePath('/dev/null')).toBe('/dev/null');
    expect(sourcePath('/dev/vg/web')).toBe('/dev/vg/web');
  });

  it('is, where it is read, the file that its links lead to', () => {
    const folder = realpathSync(mkdtempSync(join(tmpdir(), 'wirt-link-')));
    const at = (path: string): string => join(folder, path);
    try {
      mkdirSync(at('real'));
      writeFileSync(at('real/disk.img'), '');
      symlinkSync('real', at('folder'));
      symlinkSync('folder/disk.img', at('disk.img'));
      symlinkSync('nowhere', at('broken.img'));
      expect(sourcePath(at('disk.img'))).toBe(at('real/disk.img'));
      expect(sourcePath(at('folder/disk.img'))).toBe(at('real/disk.img'));
      expect(sourcePath(at('broken.img'))).toBe(at('broken.img'));
      expect(sourcePath(at('none.img'))).toBe(at('none.img'));
      // What is written is refused by wirtd where something is there, a link included.
      expect(hostPath(at('disk.img'))).toBe(at('disk.img'));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('is told from an address by its scheme', () => {
    expect(sourceOf('disk.vmdk')).toEqual({ path: `${process.cwd()}/disk.vmdk` });
    expect(sourceOf('https://example.org/a.qcow2')).toEqual({ url: 'https://example.org/a.qcow2' });
    expect(sourceOf('file:///srv/a%20b.img')).toEqual({ path: '/srv/a b.img' });
    expect(() => sourceOf('ftp://example.org/a')).toThrow(BadValue);
    expect(() => sourceOf('json:{"driver":"nbd"}')).not.toThrow();
    expect(sourceOf('json:{"x":1}')).toEqual({ path: `${process.cwd()}/json:{"x":1}` });
  });

  it.each([
    ['./Debian_12 (generic).qcow2.xz', 'debian-12-generic'],
    ['/x/disk.VMDK', 'disk'],
    ['https://example.org/img/noble-server.img?x=1#y', 'noble-server'],
    ['https://example.org/My%20Image.raw.zst', 'my-image'],
    ['v1.2.3.iso', 'v1-2-3'],
    ['a%41.iso', 'a-41'],
    ['https://example.org/', undefined],
    ['/srv/…', undefined],
  ])('%s gives the name %s', (text, name) => {
    expect(nameFromFile(sourceOf(text))).toBe(name);
  });

  it('gives a DNS label or no name, whatever it is called', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 100 }), (path) => {
        const name = nameFromFile({ path }) ?? 'none';
        expect(name).toMatch(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);
      }),
    );
  });
});

describe('the format of a file to write', () => {
  it.each([
    [undefined, '/x/a.vmdk', 'vmdk'],
    [undefined, '/x/a.img', 'raw'],
    [undefined, '/x/a.VHD', 'vpc'],
    [undefined, '/x/a', 'qcow2'],
    [undefined, '/x.raw/a', 'qcow2'],
    ['raw', '/x/a.qcow2', 'raw'],
    ['vhd', '/x/a', 'vpc'],
  ] as const)('asked %s for %s is %s', (asked, path, format) => {
    expect(exportFormat(asked, path)).toBe(format);
  });
});
