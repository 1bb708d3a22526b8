// A program of its own: says which process may write one of some block devices. Asking after a file that is open elsewhere can keep who asks
// for ever, so the daemon does not, and this asks only after files that may be device nodes. One line of JSON, or none.
// Arguments: MAJOR:MINOR of the devices. Source: proc(5).
import { constants, readFileSync, readlinkSync, statSync } from 'node:fs';
import { deviceNumbersOf, devicePair } from '../../platform/device-number.ts';
import { entriesOf, processIds, programNameOf } from '../../platform/proc-entries.ts';

/** File systems that have nodes of devices, and answer without asking another machine or a program. */
const withNodes = /^(?:devtmpfs|tmpfs|ramfs|rootfs|overlay|ext[234]|xfs|btrfs|f2fs|zfs)$/;

/** Ids of the mounts that may hold nodes, by the names of mount namespaces. */
const seen = new Map<string, ReadonlySet<string>>();

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
    return found.isBlockDevice() ? devicePair(deviceNumbersOf(found.rdev)) : undefined;
  } catch {
    return undefined;
  }
}

function findWriter(
  wanted: ReadonlySet<string>,
): { readonly pid: string; readonly name: string } | undefined {
  for (const pid of processIds()) {
    const folder = `/proc/${pid}`;
    for (const fd of entriesOf(`${folder}/fd`))
      if (wanted.has(writtenBy(folder, fd) ?? '')) return { pid, name: programNameOf(pid) ?? '' };
  }
  return undefined;
}

const found = findWriter(new Set(process.argv.slice(2)));
if (found !== undefined) process.stdout.write(`${JSON.stringify(found)}\n`);
