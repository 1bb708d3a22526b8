import { describe, expect, it } from 'vitest';
import { findKind } from './machine-kind.ts';
import { openedFile } from './regular-file.ts';

function kindOf(text: string, path = '/machine'): Promise<string> {
  const bytes = Buffer.from(text);
  const reader = {
    sizeBytes: bytes.length,
    read: (offset: number, length: number) => Promise.resolve(bytes.subarray(offset, offset + length)),
  };
  // Only read through its reader.
  return findKind({ ...openedFile(undefined as never, path, bytes.length), reader });
}

describe('a description of a machine', () => {
  it.each([
    ['ovf', '<Envelope xmlns="x">'],
    ['ovf', '\u{feff}<?xml version="1.0"?>\n<!-- <domain> --><ovf:Envelope>'],
    ['libvirt', '<!doctype domain [ <!ENTITY a "]" > ] >\n<?a b?> <domain type="kvm">'],
    ['libvirt', '<!DOCTYPE domain SYSTEM "x">\n<domain/>'],
    ['xl', '# of Xen\n name = "web"\n'],
  ])('is known as %s by its root, whatever comes before', async (kind, text) => {
    expect(await kindOf(text)).toBe(kind);
  });

  it.each([
    '<??>'.repeat(40) + '!',
    '<!---->'.repeat(40) + '<!',
    '<!DOCTYPE a [' + ']'.repeat(60_000),
    '<!DOCTYPE a [' + '] '.repeat(30_000),
    '<!DOCTYPE a' + ' '.repeat(60_000),
    '<?' + '<?'.repeat(30_000),
  ])('that never comes to its root is given up at once', async (text) => {
    const began = performance.now();
    await expect(kindOf(text)).rejects.toMatchObject({ code: 'import.malformed' });
    expect(performance.now() - began).toBeLessThan(500);
  });
});
