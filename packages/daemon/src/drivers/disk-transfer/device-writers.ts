// A program of its own: says which process may write one of some block devices. Asking after a file that is open elsewhere can keep who asks
// for ever, so the daemon does not, and this asks only after files that may be device nodes. One line of JSON, or none.
// Arguments: MAJOR:MINOR of the devices. Source: proc(5).
import { constants, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';

/** File systems that have nodes of devices, and answer without asking another machine or a program. */
const withNodes = /^(?:devtmpfs|tmpfs|ramfs|rootfs|overlay|ext[234]|xfs|btrfs|f2fs|zfs)$/;

/** Ids of the mounts that may hold nodes, by the names of mount namespaces. */
const seen = new Map<string, ReadonlySet<string>>();

function list(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return []; // it has ended meanwhile
  }
}

function mountsOf(folder: string): ReadonlySet<string> {
  const namespace = readlinkSync(`${folder}/ns/mnt`);
  const known = seen.get(namespace);
  if (known !== undefined) return known;
  const ids = new Set<string>();
  for (const line of readFileSync(`${folder}/mountinfo`, 'utf8').split('\n')) {
    const [mount = '', superblock = ''] = line.split(' - ');
    const [id = '', , , , , options = ''] = mount.split(' ');
    if (!options.split(',').includes('nodev') && withNodes.test(superblock.split(' ')[0] ?? '')) ids.add(id);
  }
  seen.set(namespace, ids);
  return ids;
}

/** The device that a descriptor may write, by whatever node it was opened: managers of machines make their own. */
function writtenBy(folder: string, fd: string): string | undefined {
  try {
    const target = readlinkSync(`${folder}/fd/${fd}`);
    if (!target.startsWith('/')) return undefined;
    const info = readFileSync(`${folder}/fdinfo/${fd}`, 'latin1');
    const flags = Number.parseInt(/^flags:\s*([0-7]+)/m.exec(info)?.[1] ?? '0', 8);
    if ((flags & (constants.O_WRONLY | constants.O_RDWR)) === 0) return undefined;
    const mount = /^mnt_id:\s*(\d+)/m.exec(info)?.[1] ?? '';
    if (!target.startsWith('/dev/') && !mountsOf(folder).has(mount)) return undefined;
    const found = statSync(`${folder}/fd/${fd}`);
    return found.isBlockDevice() ? numberOf(found.rdev) : undefined;
  } catch {
    return undefined;
  }
}

/** Linux, include/linux/kdev_t.h (new_encode_dev). */
function numberOf(rdev: number): string {
  const [major, minor] = [(rdev >> 8) & 0xfff, (rdev & 0xff) | ((rdev >>> 12) & 0xfff00)];
  return `${major}:${minor}`;
}

function nameOf(folder: string): string {
  try {
    return readFileSync(`${folder}/comm`, 'utf8').trim();
  } catch {
    return '';
  }
}

function findWriter(
  wanted: ReadonlySet<string>,
): { readonly pid: string; readonly name: string } | undefined {
  for (const pid of list('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const folder = `/proc/${pid}`;
    for (const fd of list(`${folder}/fd`))
      if (wanted.has(writtenBy(folder, fd) ?? '')) return { pid, name: nameOf(folder) };
  }
  return undefined;
}

const found = findWriter(new Set(process.argv.slice(2)));
if (found !== undefined) process.stdout.write(`${JSON.stringify(found)}\n`);
