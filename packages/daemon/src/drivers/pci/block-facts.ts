// Disks and partitions of the host's devices, and what they are used for: mounts of the daemon's and of the first process'
// namespace, swap, device mapper and RAID, btrfs of several disks. What leaves no trace in these, disk-claims.ts finds.
import type { HostFiles } from '../../platform/host-files.ts';
import { devicesOfPath } from './sysfs-paths.ts';
import type { BlockFacts } from './uses.ts';

interface Mount {
  /** `major:minor`; of btrfs one that is no disk's. */
  readonly dev: string;
  readonly point: string;
  readonly source: string;
}

const lastPart = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** `36 35 98:0 /root /point rw,noatime shared:1 - ext4 /dev/root rw` (Linux, filesystems/proc.rst). */
export function parseMounts(mountinfo: string): readonly Mount[] {
  return mountinfo.split('\n').flatMap((line) => {
    const [before = '', after = ''] = line.split(' - ', 2);
    const [, , dev, , point] = before.split(' ');
    const [, source = ''] = after.split(' ');
    if (dev === undefined || point === undefined) return [];
    // Blanks, line ends and backslashes are octal.
    const plain = (text: string): string =>
      text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
    return [{ dev, point: plain(point), source: plain(source) }];
  });
}

export async function readBlocks(files: HostFiles): Promise<readonly BlockFacts[]> {
  const tables = await Promise.all(['self', '1'].map((pid) => files.text(`/proc/${pid}/mountinfo`)));
  const mounts = tables.flatMap((table) => parseMounts(table ?? ''));
  const swaps = ((await files.text('/proc/swaps')) ?? '')
    .split('\n')
    .map((line) => line.split(/\s/)[0] ?? '');
  const members = await btrfsMembers(files);
  return Promise.all(
    (await files.list('/sys/class/block')).map(async (name): Promise<BlockFacts> => {
      const path = `/sys/class/block/${name}`;
      const [dev, holders, real, isPartition] = await Promise.all([
        files.line(`${path}/dev`),
        files.list(`${path}/holders`),
        files.realPath(path),
        files.exists(`${path}/partition`),
      ]);
      const points = mounts
        .filter((mount) => mount.dev === dev || mount.source === `/dev/${name}`)
        .map(({ point }) => point);
      return {
        name,
        ...(dev === undefined ? {} : { dev }),
        isPartition,
        devices: await devicesOf(files, real),
        mountPoints: [...new Set(points)],
        isSwap: swaps.some((swap) => swap.startsWith('/dev/') && lastPart(swap) === name),
        isMember: members.has(name),
        holders,
      };
    }),
  );
}

/** Mounted file systems only: the kernel shows no others. */
async function btrfsMembers(files: HostFiles): Promise<ReadonlySet<string>> {
  const ids = await files.list('/sys/fs/btrfs');
  return new Set((await Promise.all(ids.map((id) => files.list(`/sys/fs/btrfs/${id}/devices`)))).flat());
}

/** A namespace with several ways hangs on its subsystem, and that on the controllers (Linux, nvme-multipath.rst). */
async function devicesOf(files: HostFiles, path: string | undefined): Promise<readonly string[]> {
  const subsystem = /^(.*\/nvme-subsystem\/[^/]+)\//.exec(path ?? '')?.[1];
  if (subsystem === undefined) return devicesOfPath(path);
  const controllers = (await files.list(subsystem)).filter((name) => /^nvme\d+$/.test(name));
  const paths = await Promise.all(controllers.map((name) => files.realPath(`${subsystem}/${name}`)));
  return paths.flatMap(devicesOfPath);
}
