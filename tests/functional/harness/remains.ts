// What a daemon's guests have on the host, looked for in the kernel and the file system and not asked of the daemon.
import { readdir, readFile, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises'; // polls for a group to be free: there is no event

const claimDirectory = '/run/wirt-uids';

async function entries(directory: string): Promise<string[]> {
  return readdir(directory).catch(() => []);
}

/** QEMU processes and their shims that carry the daemon's tag. */
export async function processesOf(
  tag: string,
): Promise<{ readonly pid: number; readonly command: string }[]> {
  const found: { pid: number; command: string }[] = [];
  for (const pid of await entries('/proc')) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue;
    const command = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).replaceAll('\0', ' ');
    const at = command.indexOf(`wirt-${tag}-`);
    if (at >= 0)
      found.push({ pid: Number(pid), command: `${command.slice(0, 20)} … ${command.slice(at, at + 40)}` });
  }
  return found;
}

/** The daemon's own group in each hierarchy, empty or not. */
async function ownGroupsOf(tag: string, directory = '/sys/fs/cgroup', depth = 4): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await readdir(directory, { withFileTypes: true }).catch(() => [])) {
    if (!entry.isDirectory()) continue;
    const path = join(directory, entry.name);
    if (entry.name === tag) found.push(path);
    else if (depth > 0) found.push(...(await ownGroupsOf(tag, path, depth - 1)));
  }
  return found;
}

/** The groups of its guests. */
async function controlGroupsOf(tag: string): Promise<string[]> {
  const found: string[] = [];
  for (const own of await ownGroupsOf(tag)) {
    const guests = (await entries(own)).filter((name) => /^[0-9A-Z]{26}$/.test(name));
    found.push(...guests.map((name) => join(own, name)));
  }
  return found;
}

async function uidsOf(tag: string): Promise<string[]> {
  const found: string[] = [];
  for (const uid of await entries(claimDirectory)) {
    const claim = await readFile(join(claimDirectory, uid), 'utf8').catch(() => '');
    if (claim.includes(tag)) found.push(`uid ${uid}`);
  }
  return found;
}

/** Mounted below the directory, or on a loop device whose file is there. The directory itself may be a mount of the test's. */
async function mountsIn(directory: string): Promise<string[]> {
  const lines = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n');
  const points = lines
    .map((line) => line.split(' ')[4] ?? '')
    .filter((path) => path.startsWith(`${directory}/`));
  const devices = (await entries('/sys/block')).filter((name) => name.startsWith('loop'));
  const files = await Promise.all(
    devices.map((name) => readFile(`/sys/block/${name}/loop/backing_file`, 'utf8').catch(() => '')),
  );
  const loops = files.filter((path) => path.startsWith(`${directory}/`));
  return [...points.map((path) => `mount ${path}`), ...loops.map((path) => `loop device on ${path.trim()}`)];
}

/** Half-made files: of transfers, of images, and what copies in the default pool were lent. Downloads that broke off are kept. */
async function stagedIn(stateDirectory: string): Promise<string[]> {
  const below = async (folder: string): Promise<string[]> => {
    const found = await readdir(join(stateDirectory, folder), { withFileTypes: true, recursive: true }).catch(
      () => [],
    );
    return found.filter((each) => !each.isDirectory()).map(({ parentPath, name }) => join(parentPath, name));
  };
  const images = await entries(join(stateDirectory, 'images'));
  return [
    ...(await below('transfers')).filter((path) => !path.includes('/transfers/download-')),
    ...images.filter((name) => name.startsWith('.staging-')),
    ...(await below('pools/default/lent')),
  ].map((path) => `staged ${path}`);
}

export interface Whose {
  readonly tag: string;
  readonly runDirectory: string;
  readonly stateDirectory: string;
}

/** Everything of the daemon's guests and works that is on the host now; empty when no guest runs and nothing is under way. */
export async function remains({ tag, runDirectory, stateDirectory }: Whose): Promise<string[]> {
  const processes = (await processesOf(tag)).map(({ pid, command }) => `process ${pid} ${command}`);
  const files = (await entries(join(runDirectory, 'instances'))).map((id) => `run files ${id}`);
  return [
    ...processes,
    ...(await controlGroupsOf(tag)),
    ...(await uidsOf(tag)),
    ...files,
    ...(await mountsIn(stateDirectory)),
    ...(await stagedIn(stateDirectory)),
  ];
}

/** A group is busy until the last process in it has been reaped, of which the kernel tells nobody on cgroup v1. */
async function removeGroup(path: string): Promise<void> {
  for (let tries = 0; tries < 100; tries += 1) {
    const failed = await rmdir(path).then(
      () => undefined,
      (error: NodeJS.ErrnoException) => error.code,
    );
    if (failed !== 'EBUSY') return;
    await pause(10);
  }
}

/** Ends what a test left of a daemon that is gone: processes, control groups, uids. */
export async function clearHost(tag: string): Promise<void> {
  for (const { pid } of await processesOf(tag)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has just ended by itself.
    }
  }
  for (const path of await controlGroupsOf(tag)) await removeGroup(path);
  for (const path of await ownGroupsOf(tag)) await removeGroup(path);
  for (const uid of await uidsOf(tag)) await rm(join(claimDirectory, uid.slice(4)), { force: true });
}
