// Puts a root folder and boot images together into one disk, in a sparse file, without mounting anything: GPT with a BIOS
// boot partition, an EFI system partition, and the root last, where it can grow.
import { randomUUID } from 'node:crypto';
import { open, readFile, rename, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runToSuccess } from '../../platform/subprocess.ts';
import { bootCode, placedCore } from './boot-sector.ts';
import {
  mbrTableBytes,
  mbrTableOffset,
  partitionTypes,
  renderGpt,
  sectorBytes,
  usableSectors,
} from './gpt.ts';
import { earlyConfig } from './grub.ts';

const mebibyte = 1024 * 1024;
const sectorsPerMib = mebibyte / sectorBytes;
/** What a guest needs to begin with: it grows to the size of its volume at every start. */
export const diskBytes = 3 * 1024 * mebibyte;

/** Numbered as in Debian's own cloud images. */
export const layout = {
  biosBoot: { number: 14, firstSector: sectorsPerMib, sectors: sectorsPerMib },
  esp: { number: 15, firstSector: 2 * sectorsPerMib, sectors: 64 * sectorsPerMib },
  root: {
    number: 1,
    firstSector: 66 * sectorsPerMib,
    sectors: usableSectors(diskBytes / sectorBytes).end - 66 * sectorsPerMib,
  },
} as const;

/** Which features a file system has does not depend on the host's e2fsprogs; GRUB and older kernels know all of these. */
const mke2fsConfig = `[defaults]
  base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
  default_mntopts = acl,user_xattr
  enable_periodic_fsck = 0
  blocksize = 4096
  inode_size = 256
  inode_ratio = 16384
[fs_types]
  ext4 = {
    features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
  }
`;

export interface DiskOptions {
  readonly root: string;
  /** Has boot.img, core.img, BOOTX64.EFI, grubx64.efi, mmx64.efi. */
  readonly boot: string;
  readonly scratch: string;
  readonly rootUuid: string;
  /** Eight hexadecimal digits. */
  readonly espSerial: string;
  readonly env: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  onStep(stage: string, done: number, total: number): void;
}

const toolTimeoutMs = 10 * 60_000;

/** Writes `target`, a qcow2 file. Throws `SubprocessError` or the file system's errors. */
export async function writeDisk(target: string, options: DiskOptions): Promise<void> {
  const { scratch, signal, env } = options;
  const run = async (
    program: string,
    args: readonly string[],
    more: Record<string, string> = {},
  ): Promise<void> =>
    void (await runToSuccess(program, args, { timeoutMs: toolTimeoutMs, signal, env: { ...env, ...more } }));
  const raw = join(scratch, 'disk.raw');
  await writeFile(raw, '');
  await truncate(raw, diskBytes);

  options.onStep('writing the file system', 0, 3);
  const config = join(scratch, 'mke2fs.conf');
  await writeFile(config, mke2fsConfig);
  await run('mke2fs', rootArguments(raw, options), { MKE2FS_CONFIG: config });
  options.onStep('writing the boot loader', 1, 3);
  await writeEsp(raw, options, run);
  await writeBootSectors(raw, options.boot);
  options.onStep('writing the image', 2, 3);
  const partial = `${target}.partial`;
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', '-o', 'compat=1.1', raw, partial]);
  await rename(partial, target);
  options.onStep('writing the image', 3, 3);
}

export function rootArguments(
  raw: string,
  options: Pick<DiskOptions, 'root' | 'rootUuid'>,
): readonly string[] {
  return [
    ...['-q', '-F', '-t', 'ext4', '-L', 'root', '-U', options.rootUuid, '-m', '1', '-d', options.root],
    // A journal for the disk it will have, not for the small one it begins with.
    ...['-J', 'size=64', '-E', `offset=${layout.root.firstSector * sectorBytes},root_owner=0:0`],
    ...[raw, `${Math.floor((layout.root.sectors * sectorBytes) / 1024)}k`],
  ];
}

/** The removable path is where firmware without variables looks: shim, which loads GRUB beside it. */
async function writeEsp(
  raw: string,
  options: DiskOptions,
  run: (program: string, args: readonly string[], more?: Record<string, string>) => Promise<void>,
): Promise<void> {
  const { boot, scratch, rootUuid, espSerial } = options;
  const image = `${raw}@@${layout.esp.firstSector * sectorBytes}`;
  // Nobody's ~/.mtoolsrc.
  const more = { MTOOLSRC: '/dev/null', HOME: scratch };
  const geometry = [
    '-T',
    String(layout.esp.sectors),
    '-h',
    '16',
    '-s',
    '63',
    '-H',
    String(layout.esp.firstSector),
  ];
  await run('mformat', ['-i', image, ...geometry, '-N', espSerial, '-v', 'ESP', '::'], more);
  const config = join(scratch, 'esp-grub.cfg');
  await writeFile(config, earlyConfig(rootUuid));
  await run('mmd', ['-i', image, '::EFI', '::EFI/BOOT', '::EFI/debian'], more);
  const programs = ['BOOTX64.EFI', 'grubx64.efi', 'mmx64.efi'].map((name) => join(boot, name));
  await run('mcopy', ['-i', image, ...programs, '::EFI/BOOT/'], more);
  // Debian's signed GRUB reads its configuration from this folder, wherever it was loaded from.
  await run('mcopy', ['-i', image, config, '::EFI/debian/grub.cfg'], more);
}

async function writeBootSectors(raw: string, boot: string): Promise<void> {
  const names = { biosBoot: 'BIOS boot', esp: 'EFI system', root: 'root' } as const;
  const types = {
    biosBoot: partitionTypes.biosBoot,
    esp: partitionTypes.efiSystem,
    root: partitionTypes.linuxRootAmd64,
  } as const;
  const keys = ['biosBoot', 'esp', 'root'] as const;
  const gpt = renderGpt({
    diskGuid: randomUUID(),
    diskSectors: diskBytes / sectorBytes,
    partitions: keys.map((key) => ({
      ...layout[key],
      type: types[key],
      guid: randomUUID(),
      name: names[key],
    })),
  });
  const { firstSector, sectors } = layout.biosBoot;
  const core = placedCore(await readFile(join(boot, 'core.img')), firstSector);
  if (core.length > sectors * sectorBytes) throw new Error('GRUB does not fit into the BIOS boot partition.');
  bootCode(await readFile(join(boot, 'boot.img')), firstSector).copy(gpt.start);
  await using file = await open(raw, 'r+');
  await file.write(gpt.start, 0, gpt.start.length, 0);
  await file.write(core, 0, core.length, firstSector * sectorBytes);
  // mformat describes the file system as a partition within itself, which makes GRUB's tools see another disk there.
  await file.write(
    Buffer.alloc(mbrTableBytes),
    0,
    mbrTableBytes,
    layout.esp.firstSector * sectorBytes + mbrTableOffset,
  );
  await file.write(gpt.end, 0, gpt.end.length, diskBytes - gpt.end.length);
}
