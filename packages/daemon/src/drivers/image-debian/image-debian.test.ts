import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { rootArguments } from './disk.ts';
import { imageFiles } from './files.ts';
import { earlyConfig, grubConfig, grubDefaults } from './grub.ts';
import { createDebianImageBuilder } from './image-debian.ts';
import { aptConfig, bootstrapArguments } from './mmdebstrap.ts';

const rootUuid = '01234567-89ab-cdef-0123-456789abcdef';

describe('what mmdebstrap is called with', () => {
  it('is this', () => {
    const files = {
      root: '/w/root',
      hooks: '/w/hooks',
      aptConfig: '/w/apt.conf',
      sources: '/w/sources.list',
    };
    expect(bootstrapArguments(files).join('\n')).toMatchSnapshot();
  });

  it('leaves the sources to mmdebstrap when the host knows none', () => {
    const files = { root: '/w/root', hooks: '/w/hooks', aptConfig: '/w/apt.conf', sources: undefined };
    expect(bootstrapArguments(files).at(-1)).toBe('/w/root');
  });

  it('takes proxies and time limits from the host, and no hooks or relaxed checks', () => {
    const dump = `APT::Update::Post-Invoke-Success:: "touch /host-was-changed";
Acquire::AllowInsecureRepositories "1";
Acquire::http::Proxy "http://proxy.example:3142";
Acquire::Check-Valid-Until "false";
Dir::Etc::trusted "trusted.gpg";
`;
    expect(aptConfig(dump)).toBe(`Acquire::http::Proxy "http://proxy.example:3142";
Acquire::Check-Valid-Until "false";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "30";
`);
  });
});

describe('the boot loader’s configuration', () => {
  it('finds the root by its UUID', () => {
    expect(earlyConfig(rootUuid)).toMatchSnapshot();
    expect(grubConfig({ rootUuid, release: '6.1.0-50-cloud-amd64' })).toMatchSnapshot();
  });

  it('is written by update-grub with the same arguments for the kernel', () => {
    const first = / ro (.*)$/m.exec(grubConfig({ rootUuid, release: '6' }))?.[1];
    const [common, quick] = ['', '_DEFAULT'].map(
      (suffix) => new RegExp(`^GRUB_CMDLINE_LINUX${suffix}="(.*)"$`, 'm').exec(grubDefaults)?.[1],
    );
    expect(`${common} ${quick}`).toBe(first);
  });
});

describe('the file system', () => {
  it('is made in its partition, from the folder, with the UUID that the boot loader looks for', () => {
    expect(rootArguments('/w/disk.raw', { root: '/w/root', rootUuid }).join(' ')).toBe(
      `-q -F -t ext4 -L root -U ${rootUuid} -m 1 -d /w/root -J size=64 -E offset=69206016,root_owner=0:0 /w/disk.raw 3078127k`,
    );
  });
});

describe('the image’s own files', () => {
  const files = imageFiles({ rootUuid, espSerial: 'ABCD1234' });

  it('name each path once, and mount by UUID', () => {
    expect(new Set(files.map(({ path }) => path)).size).toBe(files.length);
    expect(files.find(({ path }) => path === 'etc/fstab')?.data).toMatchSnapshot();
  });
});

describe('building debian-12', () => {
  let work = '';
  let target = '';
  beforeEach(async () => {
    work = await mkdtemp(join(tmpdir(), 'wirt-debian-'));
    target = join(work, 'target');
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    vi.restoreAllMocks();
    await rm(work, { recursive: true, force: true });
  });

  const build = async () =>
    await createDebianImageBuilder({ workDirectory: join(work, 'work') }).build(target, {
      signal: AbortSignal.timeout(10_000),
      onProgress: () => undefined,
    });

  // The recipe is for x86 only, and says so first.
  it.skipIf(process.arch !== 'x64')('says at once that it needs root', async () => {
    vi.spyOn(process, 'getuid').mockReturnValue(1000);
    await expect(build()).rejects.toMatchObject({
      code: 'image.build_failed',
      message: expect.stringContaining('only be built by a wirtd that runs as root'),
    });
    expect(await readdir(work)).toEqual([]);
  });

  // Where all programs are in /usr/sbin too, none is missing.
  const isBuilder = process.arch === 'x64' && !existsSync('/usr/sbin/unshare');
  // As above.
  it.skipIf(!isBuilder)('names every program that is missing, and what to install', async () => {
    vi.spyOn(process, 'getuid').mockReturnValue(0);
    vi.stubEnv('PATH', join(work, 'nowhere'));
    await expect(build()).rejects.toMatchObject({
      code: 'host.tool_missing',
      message: expect.stringMatching(/cannot be built without setpriv, unshare, mmdebstrap, .*qemu-img/),
      hint: expect.stringMatching(
        /^Install on a Debian host: apt install util-linux mmdebstrap .*qemu-utils$/,
      ),
    });
    expect(await readdir(work)).toEqual([]);
  });
});
