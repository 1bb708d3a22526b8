// A program of its own: says of disks whether somebody has them open, or the kernel has claimed them. Opening a disk that hangs keeps
// who opens it for ever, so the daemon does not. One line of JSON for each thing that is known, as soon as it is, and one when all
// programs were looked at. Other probes, which may hang with a disk, are none that have it open.
// Arguments: NAME:MAJOR:MINOR of disks, and of their partitions with `-` before them, which are looked for and not opened.
// Source: open(2) (O_EXCL of block devices), proc(5).
import { constants, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { deviceNumbersOf, devicePair } from '../../platform/device-number.ts';
import { entriesOf, processIds, programNameOf } from '../../platform/proc-entries.ts';

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

/** Below these are no disks, but files that are open in great number, or that hang with whoever serves them. */
const otherDirectories = /^\/dev\/(?:pts|shm|net|vfio|hugepages|mqueue|snd|dri|input|bus|char)\//;

/** Names in /dev that are no disks', as the directory itself says. */
function otherDevices(): ReadonlySet<string> {
  try {
    const entries = readdirSync('/dev', { withFileTypes: true });
    return new Set(entries.filter((each) => each.isCharacterDevice()).map(({ name }) => `/dev/${name}`));
  } catch {
    return new Set();
  }
}

/** The block device that a descriptor is of, whatever name the process knows it by. */
function diskOf(fd: string, others: ReadonlySet<string>): string | undefined {
  try {
    const target = readlinkSync(fd);
    // Only for what may be a disk is the file itself looked at, which could hang elsewhere.
    if (!target.startsWith('/dev/') || others.has(target) || otherDirectories.test(target)) return undefined;
    const found = statSync(fd);
    return found.isBlockDevice() ? devicePair(deviceNumbersOf(found.rdev)) : undefined;
  } catch {
    return undefined;
  }
}

/** This same program, run by this or by another daemon. */
function isProbe(pid: string): boolean {
  try {
    const [, program] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    return program === process.argv[1] && readlinkSync(`/proc/${pid}/exe`) === process.execPath;
  } catch {
    return false;
  }
}

function tellOpen(wanted: readonly Wanted[]): void {
  const byNumber = new Map(wanted.map(({ name, number }) => [number, name]));
  const others = otherDevices();
  for (const pid of processIds()) {
    if (pid === String(process.pid)) continue;
    for (const fd of entriesOf(`/proc/${pid}/fd`)) {
      const number = diskOf(`/proc/${pid}/fd/${fd}`, others);
      const name = number === undefined ? undefined : byNumber.get(number);
      if (name === undefined || number === undefined) continue;
      if (isProbe(pid)) break;
      say({ name, openIn: programNameOf(pid) ?? 'a program', pid: Number(pid) });
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
    const { code, message } = error as NodeJS.ErrnoException;
    say(code === 'EBUSY' ? { name, claimed: true } : { name, error: code ?? message });
  }
}

/** For the claims together; those that take longer are told when they are known. */
const claimMs = 2_000;

const wanted = process.argv.slice(2).flatMap(parse);
const claims = Promise.all(wanted.filter(({ isPartition }) => !isPartition).map(tellClaimed));
// Claims first: whoever opens a disk after that is seen here.
await Promise.race([claims, setTimeout(claimMs, undefined, { ref: false })]);
tellOpen(wanted);
say({ looked: true });
