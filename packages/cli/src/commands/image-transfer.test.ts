import { mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { problem, runWirt, startScriptedDaemon } from '../scripted-daemon.ts';
import { aDiskImage, done } from '../scripted-records.ts';

const target = { kind: 'image', id: aDiskImage.id, name: 'debian-12' };

async function asked(line: string, kind: string, argv: readonly string[], image: object = aDiskImage) {
  await using daemon = await startScriptedDaemon({
    [line]: () => ({ status: 202, json: done(kind, target) }),
    [`GET /v1/images/${aDiskImage.id}`]: () => ({ json: image }),
  });
  const result = await runWirt(['image', ...argv], { daemon });
  const [first] = daemon.asked;
  return { ...result, json: first?.json, key: first?.headers['idempotency-key'], lines: daemon.lines };
}

const importing = (...argv: string[]) => asked('POST /v1/images/import', 'image.import', ['import', ...argv]);

describe('wirt image import', () => {
  it('names a file by its absolute path, and the image by the file', async () => {
    const { code, stdout, json, key } = await importing('./Old Disk.vmdk.gz');
    expect([code, stdout]).toEqual([0, 'Image debian-12 is ready, 300 MiB. Run it: wirt run debian-12\n']);
    expect(json).toEqual({ name: 'old-disk', path: `${process.cwd()}/Old Disk.vmdk.gz` });
    expect(key).toMatch(/^[0-9a-f-]{36}$/);
  });

  it('follows a link to its file, and names the image by the link', async () => {
    const folder = await realpath(await mkdtemp(join(tmpdir(), 'wirt-link-')));
    try {
      await writeFile(join(folder, 'disk-2026-11.img'), '');
      await symlink('disk-2026-11.img', join(folder, 'latest.img'));
      const { json } = await importing(join(folder, 'latest.img'));
      expect(json).toEqual({ name: 'latest', path: join(folder, 'disk-2026-11.img') });
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('passes an address and everything that was said on', async () => {
    const { json } = await importing(
      ...['https://example.org/x/os.img.xz', '--name', 'os', '--format', 'vhd'],
      ...['--compression', 'xz', '--sha256', 'AB'.repeat(32)],
    );
    expect(json).toEqual({
      name: 'os',
      url: 'https://example.org/x/os.img.xz',
      format: 'vpc',
      compression: 'xz',
      sha256: 'ab'.repeat(32),
    });
  });

  it('says what a medium is for', async () => {
    const iso = { ...aDiskImage, name: 'netinst', spec: { format: 'iso' } };
    const { stdout } = await asked('POST /v1/images/import', 'image.import', ['import', 'netinst.iso'], iso);
    expect(stdout).toBe(
      'Image netinst is ready, 300 MiB. Boot from it: wirt run --cdrom netinst --disk 20G\n',
    );
  });

  it.each([
    [['ftp://example.org/a.img'], 'SOURCE is a file or an http or https address'],
    [['a.img', '--sha256', 'abc'], '--sha256 takes 64 hexadecimal digits.'],
    [['/srv/….img'], 'gives the image no name'],
    [['a.img', '--format', 'qcow'], '(did you mean qcow2?)'],
  ])('refuses %j', async (argv, reason) => {
    const { code, stderr, lines } = await importing(...argv);
    expect(code).toBe(2);
    expect(stderr).toContain(reason);
    expect(lines).toEqual([]);
  });

  it('tells the refusal of a hostile file with cause and hint', async () => {
    await using daemon = await startScriptedDaemon({
      'POST /v1/images/import': () =>
        problem(422, 'disk.refused', 'a.qcow2 is not opened.', {
          cause: 'It names a backing file.',
          hint: 'X.',
        }),
    });
    expect(await runWirt(['image', 'import', 'a.qcow2'], { daemon })).toEqual({
      code: 1,
      stdout: '',
      stderr: 'wirt: a.qcow2 is not opened.\n  cause: It names a backing file.\n  hint: X.\n',
    });
  });
});

describe('wirt image pull and export', () => {
  it('pull names the image of the catalogue, and goes on alone when told so', async () => {
    const pulled = await asked('POST /v1/images/pull', 'image.pull', [
      ...['pull', 'images:ubuntu/24.04', '--name', 'noble'],
    ]);
    expect(pulled.json).toEqual({ image: 'images:ubuntu/24.04', name: 'noble' });
    expect(pulled.code).toBe(0);
    const left = await asked('POST /v1/images/pull', 'image.pull', ['pull', 'ubuntu/24.04', '--no-wait']);
    expect(left.json).toEqual({ image: 'ubuntu/24.04' });
    expect(left.stdout).toBe('Pulling image debian-12 goes on as operation 01KATESTTESTTESTTESTTESTP1\n');
    expect(left.lines).toEqual(['POST /v1/images/pull']);
  });

  it('export writes by the ending of the file, or as asked', async () => {
    const line = 'POST /v1/images/debian-12/export';
    const byEnding = await asked(line, 'image.export', ['export', 'debian-12', '/srv/d.vmdk']);
    expect(byEnding.json).toEqual({ format: 'vmdk', path: '/srv/d.vmdk' });
    expect(byEnding.stdout).toBe('Image debian-12 is in /srv/d.vmdk (vmdk)\n');
    const said = await asked(line, 'image.export', [
      ...['export', 'debian-12', 'd.img', '--format', 'vdi', '-o', 'name'],
    ]);
    expect(said.json).toEqual({ format: 'vdi', path: `${process.cwd()}/d.img` });
    expect(said.stdout).toBe(`${process.cwd()}/d.img\n`);
  });
});
