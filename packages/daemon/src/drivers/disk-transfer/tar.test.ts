import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { paxRecord, type TarEntry, tarOf } from './tar.fixture.ts';
import { listTar } from './tar.ts';

const limits = { maxHeaders: 16, maxBytes: 1_000_000 };

function readerOf(bytes: Buffer, sizeBytes = bytes.length) {
  return {
    sizeBytes,
    read: async (offset: number, length: number) => bytes.subarray(offset, offset + length),
  };
}
const list = (bytes: Buffer) => listTar(readerOf(bytes), limits);
const refusal = async (entries: TarEntry[]): Promise<string> => {
  const error = await list(tarOf(entries)).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code: 'import.malformed' });
  return error instanceof Error ? error.message : '';
};

describe('the members of an archive', () => {
  it('are listed with their places, in the order they are in', async () => {
    const bytes = tarOf([
      { name: 'b.ovf', content: 'description' },
      { name: 'empty' },
      { name: 'a disk.vmdk', content: Buffer.alloc(1000, 1) },
    ]);
    const members = await list(bytes);
    expect(members.map(({ name, sizeBytes }) => [name, sizeBytes])).toEqual([
      ['b.ovf', 11],
      ['empty', 0],
      ['a disk.vmdk', 1000],
    ]);
    const [first] = members;
    expect(bytes.subarray(first?.offset, (first?.offset ?? 0) + 11).toString()).toBe('description');
  });

  it('have the long names and sizes that GNU and pax write', async () => {
    const long = `${'n'.repeat(150)}.vmdk`;
    const pax = paxRecord('mtime', '1.5') + paxRecord('path', `é${long}`) + paxRecord('size', '3');
    const bytes = tarOf([
      { name: '././@LongLink', type: 'L', content: `${long}\0` },
      { name: 'cut', content: 'one' },
      { name: 'PaxHeaders/x', type: 'x', content: pax },
      { name: 'cut', content: 'two', saysBytes: 0 },
      { name: 'old', content: 'three', spoil: (header) => header.write('ustar  \0', 257) },
    ]);
    const members = await list(bytes);
    expect(members.map(({ name, sizeBytes }) => [name, sizeBytes])).toEqual([
      [long, 3],
      [`é${long}`, 3],
      ['old', 5],
    ]);
  });

  it('are found as `tar -C FOLDER .` writes them, and without an end', async () => {
    const bytes = tarOf(
      [
        { name: './', type: '5' },
        { name: './a.ovf', content: 'x' },
      ],
      { end: false },
    );
    expect((await list(bytes)).map(({ name }) => name)).toEqual(['a.ovf']);
  });

  it('may be of more than 8 GiB each', async () => {
    const bytes = tarOf([{ name: 'huge', saysBytes: 9 * 1024 ** 3 }], { end: false });
    const reader = readerOf(bytes, 9 * 1024 ** 3 + 512);
    const [huge] = await listTar(reader, { maxHeaders: 2, maxBytes: 10 * 1024 ** 3 });
    expect(huge?.sizeBytes).toBe(9 * 1024 ** 3);
  });
});

describe('an archive is refused', () => {
  it.each([
    ['a hard link', '1'],
    ['a symbolic link', '2'],
    ['a device', '3'],
    ['a device', '4'],
    ['a folder', '5'],
    ['a pipe', '6'],
    ['a sparse file', 'S'],
    ['of the unknown type', 'Z'],
  ])('when a member is %s', async (what, type) => {
    expect(await refusal([{ name: 'a.ovf' }, { name: 'disk', type, linkTo: '/etc/shadow' }])).toContain(what);
  });

  it.each([
    ['absolute', '/etc/passwd'],
    ['up', '../a'],
    ['up alone', '..'],
    ['in a folder', 'a/b'],
    ['in a folder up', 'a/../../b'],
    ['of Windows', 'a\\b'],
    ['with a line break', 'a\nb'],
    ['with a direction mark', 'a\u202eb'],
    ['empty', ''],
    ['a dot', '.'],
  ])('when a name is %s, in whatever header it is said', async (_what, name) => {
    const plain = { name: 'plain', content: 'x' };
    expect(await refusal([{ name, content: 'x' }])).toContain('no plain name');
    expect(await refusal([{ name: 'h', type: 'x', content: paxRecord('path', name) }, plain])).toContain(
      'no plain name',
    );
    expect(await refusal([{ name: 'h', type: 'L', content: name }, plain])).toContain('no plain name');
  });

  it('when the rest of a long name leads elsewhere', async () => {
    expect(await refusal([{ name: 'passwd', prefix: '/etc' }])).toContain('no plain name');
  });

  it('when a name is there twice, in whatever form', async () => {
    expect(await refusal([{ name: 'a' }, { name: 'b' }, { name: 'a' }])).toContain('twice');
    expect(await refusal([{ name: '\u00e9' }, { name: 'e\u0301' }])).toContain('twice');
  });

  it('when its pax headers are odd', async () => {
    const pax = (content: string, type = 'x') => refusal([{ name: 'h', type, content }, { name: 'a' }]);
    expect(await pax(paxRecord('GNU.sparse.major', '1'))).toContain('sparse');
    expect(await pax(paxRecord('path', 'x'), 'g')).toContain('for all its members');
    expect(await pax(paxRecord('size', '-1'))).toContain('of the size');
    expect(await pax(paxRecord('size', '1e9'))).toContain('of the size');
    expect(await pax('99 path=x\n')).toContain('cannot be read');
    expect(await pax('x path=x\n')).toContain('cannot be read');
    expect(await pax(paxRecord('path', 'a') + paxRecord('path', 'b'))).toContain('cannot be read');
    expect(await pax('0'.repeat(70_000))).toContain('extended header of 70000 bytes');
  });

  it('when it ends before its members do', async () => {
    expect(await refusal([{ name: 'a', content: 'x', saysBytes: 100_000 }])).toContain('ends before');
    await expect(list(tarOf([{ name: 'a' }]).subarray(0, 700))).rejects.toThrow('ends within a header');
  });

  it('when a size cannot be', async () => {
    const negative = (header: Buffer) => header.fill(0xff, 124, 136);
    const huge = (header: Buffer) => header.fill(0xff, 125, 136).writeUInt8(0x80, 124);
    expect(await refusal([{ name: 'a', spoil: negative }])).toContain('a number that is none');
    expect(await refusal([{ name: 'a', spoil: huge }])).toContain('a size that cannot be');
  });

  it('when a header is damaged', async () => {
    const bytes = tarOf([{ name: 'a' }]);
    bytes.writeUInt8(0x41, 1);
    await expect(list(bytes)).rejects.toThrow('a header is not right');
  });

  it('when it has too many members, or too large ones', async () => {
    const many = Array.from({ length: 17 }, (_none, index) => ({ name: `f${index}` }));
    expect(await refusal(many)).toContain('more than 16 members');
    const bytes = tarOf([{ name: 'a', saysBytes: 600_000 }], { end: false });
    const reader = readerOf(bytes, 700_000);
    await expect(listTar(reader, { maxHeaders: 2, maxBytes: 500_000 })).rejects.toMatchObject({
      code: 'disk.too_large',
    });
  });

  it('or listed, whatever its bytes are, with no member beyond its end', async () => {
    const sound = tarOf([
      { name: 'a.ovf', content: 'description' },
      { name: 'h', type: 'x', content: paxRecord('path', 'b') },
      { name: 'b', content: Buffer.alloc(600) },
    ]);
    const change = fc.record({ at: fc.nat({ max: sound.length - 1 }), byte: fc.nat({ max: 255 }) });
    await fc.assert(
      fc.asyncProperty(
        fc.array(change, { maxLength: 6 }),
        fc.nat({ max: sound.length }),
        async (changes, cut) => {
          const bytes = Buffer.from(sound.subarray(0, sound.length - (cut % 1024)));
          for (const { at, byte } of changes) if (at < bytes.length) bytes.writeUInt8(byte, at);
          const members = await list(bytes).catch((error: unknown) => {
            expect(error).toMatchObject({ code: expect.stringMatching(/^(import|disk)\./) });
            return [];
          });
          for (const { name, offset, sizeBytes } of members) {
            expect(name).not.toMatch(/[/\\\0]|^\.{0,2}$/);
            expect(offset + sizeBytes).toBeLessThanOrEqual(bytes.length);
          }
        },
      ),
    );
  });
});
