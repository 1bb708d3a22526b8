/**
 * Whether a process may write a block device, or what shares its bytes: the disk that it is a part of, its partitions, what is made of it
 * and what it is made of. Siblings (other partitions, a snapshot and its origin) do not count. Seen of all processes by root, else of its own
 * user's. What the kernel writes by itself (Xen's blkback) is not seen.
 */
import { readdir, readFile, realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Abandoned, runOrAbandon } from '../../platform/abandon.ts';
import { type DeviceNumbers, devicePair } from '../../platform/device-number.ts';
import { refused } from './failure.ts';

const BLOCK_DEVICES = '/sys/dev/block';
const DEADLINE_MS = 10_000;
const writers = fileURLToPath(new URL('./device-writers.ts', import.meta.url));
const unhurried = new AbortController().signal;

export const inUseHint = (path: string): string =>
  `See by whom: lsblk ${path}; fuser -v ${path}. Shut the machine down that has it, or unmount it; a snapshot of a logical volume can be read meanwhile: lvcreate -s`;

/** Throws `disk.refused` (in-use), also where that is not found out in time. `path` is for the message. */
export async function requireNoWriter(
  path: string,
  device: DeviceNumbers,
  { root = BLOCK_DEVICES, program = writers, deadlineMs = DEADLINE_MS } = {},
): Promise<void> {
  const search = [program, ...(await devicesSharing(device, root))];
  const writer = await writerFoundBy(search, deadlineMs);
  if (writer !== undefined)
    throw refused(path, 'in-use', `${writer} has it, or a part of it, open for writing`, inUseHint(path));
}

async function writerFoundBy(search: readonly string[], deadlineMs: number): Promise<string | undefined> {
  try {
    const options = { deadlineMs, signal: unhurried };
    const { stdout, exitCode } = await runOrAbandon(process.execPath, search, options);
    // A search that broke off has found nobody, and says nothing by it.
    if (exitCode !== 0) return 'perhaps a process that could not be looked for';
    if (stdout === '') return undefined;
    const { pid, name } = JSON.parse(stdout) as { pid: string; name: string };
    return `process ${pid} (${name})`;
  } catch (error) {
    if (error instanceof Abandoned) return 'perhaps a process that could not be looked at in time';
    throw error;
  }
}

/** `MAJOR:MINOR` of the device and of all that share bytes with it. Source: Linux, Documentation/ABI/stable/sysfs-block. */
export async function devicesSharing(device: DeviceNumbers, root: string): Promise<string[]> {
  const start = await realpath(join(root, devicePair(device)));
  const folders = new Set([...(await reached(start, beneath)), ...(await reached(start, above))]);
  const numbers = await Promise.all([...folders].map(numberOf));
  return numbers.filter((number) => number !== undefined);
}

async function reached(start: string, next: (folder: string) => Promise<string[]>): Promise<Set<string>> {
  const found = new Set([start]);
  // A set goes on over what is added meanwhile.
  for (const folder of found) for (const one of await next(folder)) found.add(one);
  return found;
}

/** What a device is made of. */
async function beneath(folder: string): Promise<string[]> {
  const isPartition = (await read(join(folder, 'partition'))) !== undefined;
  return [...(isPartition ? [dirname(folder)] : []), ...(await linked(join(folder, 'slaves')))];
}

/** What is made of it. */
async function above(folder: string): Promise<string[]> {
  const partitions: string[] = [];
  for (const name of await list(folder))
    if ((await read(join(folder, name, 'partition'))) !== undefined) partitions.push(join(folder, name));
  return [...partitions, ...(await linked(join(folder, 'holders')))];
}

async function linked(folder: string): Promise<string[]> {
  return await Promise.all((await list(folder)).map((name) => realpath(join(folder, name))));
}

const list = (folder: string): Promise<string[]> => readdir(folder).catch(() => []);

const read = (path: string): Promise<string | undefined> => readFile(path, 'latin1').catch(() => undefined);

async function numberOf(folder: string): Promise<string | undefined> {
  return (await read(join(folder, 'dev')))?.trim();
}
