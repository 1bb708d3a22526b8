// A program of its own: says of disks whether somebody has them open, or the kernel has claimed them. Opening a disk that hangs keeps
// who opens it for ever, so the daemon does not. One line of JSON for each thing that is known, as soon as it is.
// Arguments: NAME:MAJOR:MINOR of disks, and of their partitions with `-` before them, which are looked for and not opened.
// Source: open(2) (O_EXCL of block devices), proc(5).
import { constants, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';

interface Wanted {
  readonly name: string;
  readonly number: string;
  readonly isPartition: boolean;
}

function parse(word: string): Wanted[] {
  const [, partition = '', name = '', number = ''] = /^(-?)([^:/]+):(\d+:\d+)$/.exec(word) ?? [];
  return name === '' ? [] : [{ name, number, isPartition: partition !== '' }];
}

function say(found: object): void {
  process.stdout.write(`${JSON.stringify(found)}\n`);
}

/** Linux, include/linux/kdev_t.h (new_encode_dev). */
function numberOf(rdev: number): string {
  const [major, minor] = [(rdev >> 8) & 0xfff, (rdev & 0xff) | ((rdev >>> 12) & 0xfff00)];
  return `${major}:${minor}`;
}

function list(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return []; // it has ended meanwhile
  }
}

/** Device files that are open in great number, and are no disks. */
const otherDevices = /^\/dev\/(?:null|zero|u?random|kvm|pts\/|shm\/|ptmx|net\/|vfio\/|vhost|hugepages)/;

/** The block device that a descriptor is of, whatever name the process knows it by. */
function diskOf(fd: string): string | undefined {
  try {
    const target = readlinkSync(fd);
    // Only there is the file itself looked at, which could hang elsewhere.
    if (!target.startsWith('/dev/') || otherDevices.test(target)) return undefined;
    const found = statSync(fd);
    return found.isBlockDevice() ? numberOf(found.rdev) : undefined;
  } catch {
    return undefined;
  }
}

function nameOfProcess(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return 'a program';
  }
}

function tellOpen(wanted: readonly Wanted[]): void {
  const byNumber = new Map(wanted.map(({ name, number }) => [number, name]));
  for (const pid of list('/proc')) {
    if (!/^\d+$/.test(pid) || pid === String(process.pid)) continue;
    for (const fd of list(`/proc/${pid}/fd`)) {
      const number = diskOf(`/proc/${pid}/fd/${fd}`);
      const name = number === undefined ? undefined : byNumber.get(number);
      if (name === undefined || number === undefined) continue;
      say({ name, openIn: nameOfProcess(pid), pid: Number(pid) });
      byNumber.delete(number);
    }
  }
}

/** A moment's claim for itself, with nothing read: where the kernel or a program has claimed it, it is refused. */
async function tellClaimed({ name }: Wanted): Promise<void> {
  const flags = constants.O_RDONLY | constants.O_EXCL | constants.O_NONBLOCK;
  try {
    await (await open(`/dev/${name.replaceAll('!', '/')}`, flags)).close();
    say({ name, claimed: false });
  } catch (error) {
    say({ name, claimed: (error as NodeJS.ErrnoException).code === 'EBUSY' });
  }
}

const wanted = process.argv.slice(2).flatMap(parse);
tellOpen(wanted);
await Promise.all(wanted.filter(({ isPartition }) => !isPartition).map(tellClaimed));
