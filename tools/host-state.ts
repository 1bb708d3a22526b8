// What tests could leave behind on the host: processes of QEMU, wirtd and its works, network links, cgroups, mounts, loop
// devices and files.
// A snapshot before the tests and one after must be alike; what was there before is nobody's fault. Reads only /proc,
// /sys and two folders, and names each thing in words that say where to look for it.
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';

/** One line per thing: `kind: identity`. */
export type HostState = ReadonlySet<string>;

export function readHostState(): HostState {
  return new Set([
    ...readProcesses(),
    ...readLinks(),
    ...readGroups(),
    ...readMounts(),
    ...readLoopDevices(),
    ...readFiles(),
  ]);
}

/** What is there now and was not before. */
export function leftBehind(before: HostState, after: HostState): string[] {
  return [...after].filter((each) => !before.has(each)).sort();
}

/** Reads again until nothing is left behind or the deadline has passed: a killed process takes a moment to go. */
export async function settle(before: HostState, deadlineMs: number): Promise<string[]> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const left = leftBehind(before, readHostState());
    if (left.length === 0 || performance.now() > end) return left;
    await new Promise((wake) => setTimeout(wake, 100)); // the kernel tells nobody when these go: poll
  }
}

function readOr<T>(fallback: T, read: () => T): T {
  try {
    return read();
  } catch {
    return fallback; // gone between listing and reading, or not ours to read
  }
}

function readProcesses(): string[] {
  const found: string[] = [];
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const argv = readOr('', () => readFileSync(`/proc/${pid}/cmdline`, 'utf8')).split('\0');
    const isQemu = /^qemu-(system-|img|nbd|storage)/.test(basename(argv[0] ?? ''));
    const isWirtd = argv
      .slice(0, 4)
      .some((word) => /(^|\/)wirtd(\.mjs)?$|packages\/daemon\/src\/main\.ts$/.test(word));
    const isShim = argv.includes('wirt-guest'); // the shell that is QEMU's parent
    const isWork =
      argv.includes('wirt-confined') || /^(genisoimage|mmdebstrap)$/.test(basename(argv[0] ?? ''));
    if (!isQemu && !isWirtd && !isShim && !isWork) continue;
    const startedAt = readOr('', () => readFileSync(`/proc/${pid}/stat`, 'utf8'))
      .split(') ')
      .at(-1)
      ?.split(' ')[19];
    found.push(`process: ${pid} (started at ${startedAt}) ${argv.join(' ').trim().slice(0, 200)}`);
  }
  return found;
}

function readLinks(): string[] {
  return readOr<string[]>([], () => readdirSync('/sys/class/net')).map((name) => {
    const path = `/sys/class/net/${name}`;
    const kind = existsSync(`${path}/tun_flags`) ? 'tap' : existsSync(`${path}/bridge`) ? 'bridge' : 'link';
    return `network ${kind}: ${name}`;
  });
}

/** Every group of a wirtd and of its guests. The group called wirt, which holds those of all wirtds, stays for good. */
function readGroups(): string[] {
  const patterns = [1, 2, 3, 4].flatMap((depth) => {
    const above = `/sys/fs/cgroup/${'*/'.repeat(depth - 1)}`;
    return [`${above}wirt?*/`, `${above}wirt/**/`];
  });
  const found = readOr<string[]>([], () => globSync(patterns)).map((path) => path.replace(/\/$/, ''));
  return found.filter((path) => basename(path) !== 'wirt').map((path) => `cgroup: ${path}`);
}

function readMounts(): string[] {
  const lines = readOr('', () => readFileSync('/proc/self/mountinfo', 'utf8')).split('\n');
  return lines.filter((line) => line !== '').map((line) => `mount: ${line.split(' ')[4]}`);
}

/** A file that is a disk of the host, mounted or not. */
function readLoopDevices(): string[] {
  const files = readOr<string[]>([], () => globSync('/sys/block/loop*/loop/backing_file'));
  return files.map((file) => `loop device: ${readOr('', () => readFileSync(file, 'utf8')).trim()}`);
}

/** Files of wirtd in the usual places. The folder of claimed uids stays for good, empty. */
function readFiles(): string[] {
  const patterns = [
    '/run/wirt',
    '/run/wirt/**',
    '/run/wirt-uids/*',
    '/tmp/wirt-*',
    '/dev/shm/wirt*',
    '/var/lib/wirt/*',
    '/var/lib/wirt/transfers/**',
    '/var/lib/wirt/images/.staging-*',
    '/var/lib/wirt/pools/*/lent/*',
  ];
  return readOr<string[]>([], () => globSync(patterns)).map((path) => `file: ${path}`);
}
