// What the options mean on this machine: defaults by user, directories made and checked, groups looked up. Every error names
// the option, and stops wirtd before it has touched anything but those directories.
import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, isAbsolute, join, normalize } from 'node:path';
import { configError, type Environment, type Given, type GivenOptions } from './options.ts';

export const logLevels = ['debug', 'info', 'warn', 'error'] as const;

/** `auto`: bridges where root has what they need, else user mode. */
export const networkDrivers = ['auto', 'bridge', 'user'] as const;

export const hostTunings = ['auto', 'off'] as const;

export interface Config {
  /** With its links resolved. */
  readonly stateDirectory: string;
  readonly runDirectory: string;
  readonly socketPath: string;
  readonly socketGid: number | undefined;
  readonly logLevel: (typeof logLevels)[number];
  readonly qemuBinary: string;
  readonly uidRange: { readonly first: number; readonly count: number };
  readonly uidClaimDirectory: string;
  readonly cgroupParent: string;
  readonly networkDriver: (typeof networkDrivers)[number];
  /** May set what guests' speed hangs on. */
  readonly tunesHost: boolean;
  /** Addresses of image catalogues by name, in the order in which they are asked. */
  readonly catalogues: Readonly<Record<string, string>>;
  /** Short id of this daemon, by which what it makes on the host is found again. */
  readonly tag: string;
  /** systemd runs the machine, and starts guests in scopes for us. */
  readonly systemd: boolean;
}

/** What of the machine decides the defaults. */
export interface Surroundings {
  readonly env: Environment;
  readonly uid: number;
  readonly architecture: string;
  readonly systemdRuns: boolean;
  /** Text of /etc/group. */
  groups(): string;
}

export function surroundings(env: Environment): Surroundings {
  return {
    env,
    // Wirt runs on Linux only, where Node has geteuid.
    uid: process.geteuid?.() ?? 0,
    architecture: process.arch,
    systemdRuns: existsSync('/run/systemd/system'),
    groups: () => readFileSync('/etc/group', 'utf8'),
  };
}

/** unix(7): sun_path holds 108 bytes with the zero at its end. */
const maxSocketPathBytes = 107;
/** Sockets are made under a name with this behind it, and then moved into place. */
const newSuffix = '.new';
/** The longest socket path of a guest below the run directory; the 26 characters are its id. */
const guestSocket = `/instances/${'x'.repeat(26)}/console.sock${newSuffix}`;

/** Makes and checks the directories. Throws `daemon.config_invalid`. */
export function resolveConfig(given: GivenOptions, around: Surroundings): Config {
  const stateGiven = given['state-dir'] ?? defaultOf('--state-dir', defaultStateDirectory(around));
  const runGiven = given['run-dir'] ?? defaultOf('--run-dir', defaultRunDirectory(around));
  const runDirectory = absolute(runGiven);
  checkLength(runDirectory + guestSocket, runGiven, 'the sockets of guests in it');
  const socketGiven = given.socket ?? defaultOf('--socket', join(runDirectory, 'wirtd.sock'));
  const socketPath = absolute(socketGiven);
  checkLength(socketPath + newSuffix, socketGiven, 'a Unix socket');
  // Everything that only needs looking at comes before the first directory is made.
  const checked = {
    socketGid: given['socket-group'] === undefined ? undefined : groupId(given['socket-group'], around),
    logLevel: oneOf(given['log-level'], logLevels, 'info'),
    qemuBinary: program(given.qemu) ?? defaultQemu(around.architecture),
    uidRange: uidRange(given, around),
    uidClaimDirectory: claimDirectory(given, around),
    cgroupParent: groupName(given['cgroup-parent']) ?? 'wirt',
    networkDriver: oneOf(given['network-driver'], networkDrivers, 'auto'),
    tunesHost: oneOf(given['host-tuning'], hostTunings, 'auto') === 'auto' && around.uid === 0,
    catalogues: catalogues(given.catalogues),
  };
  makeDirectory(absolute(stateGiven), stateGiven);
  makeDirectory(runDirectory, runGiven);
  checkOwnTmp(runDirectory, runGiven, around);
  const stateDirectory = realpathSync(absolute(stateGiven));
  claimRunDirectory(runDirectory, runGiven, stateDirectory);
  return {
    ...checked,
    stateDirectory,
    runDirectory,
    socketPath,
    tag: createHash('sha256').update(stateDirectory).digest('hex').slice(0, 8),
    systemd: around.systemdRuns && around.uid === 0,
  };
}

const publicCatalogues = {
  incus: 'https://images.linuxcontainers.org',
  ubuntu: 'https://cloud-images.ubuntu.com/releases',
} as const;

/** `incus=https://…,ubuntu=https://…`. What the addresses may be is the catalogue's to say. */
function catalogues(given: Given | undefined): Readonly<Record<string, string>> {
  if (given === undefined) return publicCatalogues;
  const pairs = given.value.split(',').map((pair) => {
    const [, name, url] = /^([a-z0-9][a-z0-9-]*)=(https?:\/\/\S+)$/.exec(pair.trim()) ?? [];
    if (name !== undefined && url !== undefined) return [name, url] as const;
    throw configError(
      `${given.from} has ${JSON.stringify(pair)}, which is not NAME=URL.`,
      'Give it as: --catalogues ubuntu=https://cloud-images.ubuntu.com/releases',
    );
  });
  return Object.fromEntries(pairs);
}

function defaultOf(option: string, value: string): Given {
  return { value, from: `${option} (the default)` };
}

function defaultStateDirectory({ uid, env }: Surroundings): string {
  if (uid === 0) return '/var/lib/wirt';
  const base = env['XDG_STATE_HOME'];
  if (base !== undefined && isAbsolute(base)) return join(base, 'wirt');
  const home = env['HOME'];
  if (home === undefined || home === '') {
    throw configError(
      'There is no place for --state-dir: neither XDG_STATE_HOME nor HOME is set.',
      'Give --state-dir DIR.',
    );
  }
  return join(home, '.local/state/wirt');
}

function defaultRunDirectory({ uid, env }: Surroundings): string {
  if (uid === 0) return '/run/wirt';
  const base = env['XDG_RUNTIME_DIR'];
  return base !== undefined && isAbsolute(base) ? join(base, 'wirt') : `/tmp/wirt-${uid}`;
}

/** QEMU's name of the architecture that Node calls `x64`, `arm64`, …. */
function defaultQemu(architecture: string): string {
  const names: Readonly<Record<string, string>> = { x64: 'x86_64', arm64: 'aarch64' };
  return `qemu-system-${names[architecture] ?? architecture}`;
}

function absolute({ value, from }: Given): string {
  if (!isAbsolute(value)) {
    throw configError(
      `${from} must be an absolute path, and is ${value}.`,
      `Write ${join(process.cwd(), value)}.`,
    );
  }
  if (value.includes('\0') || value.includes('\n'))
    throw configError(`${from} has a control character.`, 'Choose another path.');
  const path = normalize(value);
  return path.length > 1 ? path.replace(/\/$/, '') : path;
}

function checkLength(path: string, { value, from }: Given, what: string): void {
  const excess = Buffer.byteLength(path) - maxSocketPathBytes;
  if (excess <= 0) return;
  throw configError(
    `${from} is ${excess} bytes too long for ${what}: ${value}. A Unix socket's path has at most ${maxSocketPathBytes} bytes.`,
    'Choose a shorter path, such as /run/wirt.',
  );
}

function makeDirectory(path: string, { from }: Given): void {
  try {
    // Guests run as users of their own, and pass through to what they are told of.
    makeWithParents(path);
    if (!statSync(path).isDirectory()) throw new Error('It is no directory.');
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    // What a read-only or full disk means is said by the store, with its own code, when the directory is there.
    if (code === 'EROFS' && existsSync(path)) return;
    const user = `uid ${process.geteuid?.()}`;
    throw configError(
      `${from}: the directory ${path} cannot be used by ${user}.`,
      `Look at it: namei -l ${path}`,
      cause,
    );
  }
}

/** By hand, since Node's `recursive` never returns where a file system makes no directories, as /proc. */
function makeWithParents(path: string): void {
  if (existsSync(path)) return;
  if (dirname(path) !== path) makeWithParents(dirname(path));
  mkdirSync(path, { mode: 0o711 });
}

/** /tmp is everybody's: a directory that somebody else has put there is not used. */
function checkOwnTmp(path: string, { from }: Given, { uid }: Surroundings): void {
  if (uid === 0 || path !== `/tmp/wirt-${uid}`) return;
  const found = lstatSync(path);
  if (found.isDirectory() && found.uid === uid && (found.mode & 0o022) === 0) return;
  throw configError(
    `${from}: ${path} does not belong to you alone, so it is not used.`,
    'Remove it, or give --run-dir DIR.',
  );
}

/**
 * A run directory belongs to one state directory, until the next boot: what another wirtd runs from it would look like
 * left-overs, which are killed.
 */
function claimRunDirectory(runDirectory: string, { from }: Given, stateDirectory: string): void {
  const path = join(runDirectory, 'state-directory');
  try {
    writeFileSync(path, `${stateDirectory}\n`, { flag: 'wx', mode: 0o600 });
    return;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') {
      throw configError(`${from}: ${path} cannot be written.`, `Look at it: namei -l ${path}`, cause);
    }
  }
  const owner = readFileSync(path, 'utf8').trim();
  // Empty: the machine or the daemon died while it was being written, and so before any guest was started from here.
  if (owner === '') writeFileSync(path, `${stateDirectory}\n`, { mode: 0o600 });
  if (owner === '' || owner === stateDirectory) return;
  throw configError(
    `${from}: ${runDirectory} is the run directory of the wirtd with the state directory ${owner}.`,
    `Give this one another with --run-dir; or, when that one and its guests are gone for good: rm ${path}`,
  );
}

function oneOf<T extends string>(given: Given | undefined, allowed: readonly T[], otherwise: T): T {
  if (given === undefined) return otherwise;
  const found = allowed.find((each) => each === given.value);
  if (found !== undefined) return found;
  throw configError(
    `${given.from} must be one of ${allowed.join(', ')}, and is ${given.value}.`,
    'See `wirtd --help`.',
  );
}

function program(given: Given | undefined): string | undefined {
  if (given === undefined) return undefined;
  if (given.value.includes('/')) return absolute(given);
  if (!/^[A-Za-z0-9][\w.+-]*$/.test(given.value)) {
    throw configError(
      `${given.from} must be a path or the name of a program, and is ${given.value}.`,
      'See `wirtd --help`.',
    );
  }
  return given.value;
}

function whole(given: Given, min: number, max: number): number {
  const value = /^(\d{1,10}|0x[\da-fA-F]{1,8})$/.test(given.value) ? Number(given.value) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw configError(
    `${given.from} must be a whole number from ${min} to ${max}, and is ${given.value}.`,
    'See `wirtd --help`.',
  );
}

/** Below are the uids of the system and of people; 2^31 and above some programs and file systems get wrong. */
const lowestUid = 1_000;
const highestUid = 0x7fff_ffff;

function uidRange(given: GivenOptions, { uid }: Surroundings): Config['uidRange'] {
  const first = given['uid-first'];
  const count = given['uid-count'];
  const needless = first ?? count;
  if (needless !== undefined && uid !== 0) throw rootOnly(needless);
  const range = {
    first: first === undefined ? 0x7f00_0000 : whole(first, lowestUid, highestUid),
    count: count === undefined ? 65_536 : whole(count, 1, highestUid),
  };
  if (range.first + range.count - 1 <= highestUid) return range;
  const from = (count ?? first)?.from ?? '--uid-count';
  throw configError(
    `${from}: ${range.count} uids from ${range.first} on go beyond ${highestUid}.`,
    `At most ${highestUid - range.first + 1} fit there.`,
  );
}

function rootOnly({ from }: Given): Error {
  return configError(
    `${from} can be used by root only: guests of an ordinary user run as that user.`,
    'Leave it out.',
  );
}

function claimDirectory(given: GivenOptions, { uid }: Surroundings): string {
  const claims = given['uid-claims'];
  if (claims === undefined) return '/run/wirt-uids';
  if (uid !== 0) throw rootOnly(claims);
  return absolute(claims);
}

function groupName(given: Given | undefined): string | undefined {
  if (given === undefined || /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/.test(given.value)) return given?.value;
  throw configError(
    `${given.from} must be letters, digits, hyphens and underscores (64 at most), and is ${given.value}.`,
    'It becomes the name of a directory in each cgroup hierarchy.',
  );
}

function groupId({ value, from }: Given, around: Surroundings): number {
  if (/^\d{1,10}$/.test(value) && Number(value) <= highestUid) return Number(value);
  const line = around
    .groups()
    .split('\n')
    .find((each) => each.startsWith(`${value}:`));
  const gid = line?.split(':')[2];
  if (gid !== undefined && /^\d+$/.test(gid)) return Number(gid);
  throw configError(
    `${from}: there is no group ${value} in /etc/group.`,
    'Name one of `getent group`, or give its number.',
  );
}
