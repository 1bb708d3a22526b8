// Debian's apt, used without touching the host: own lists, cache and (empty) package status under one directory. From
// the host's configuration only the sources, keyrings, pins, proxies and time limits are taken, and none of its hooks.
// Nothing is installed. apt checks the signatures of the lists. Works for an ordinary user.
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ProgramOptions, runProgram, runToSuccess } from '../../platform/subprocess.ts';
import {
  type Architecture,
  downloadPercent,
  type PackageRecord,
  parsePackageRecords,
  renderAptConfig,
} from './apt-config.ts';

/** Its methods throw `SubprocessError`. */
export interface Apt {
  /** Fetches the lists; what has not changed is not fetched again. Fails when any list could not be had. */
  update(onPercent: (percent: number) => void): Promise<void>;
  hasLists(): Promise<boolean>;
  /** The candidates of those `names` that some source has. */
  show(names: readonly string[]): Promise<readonly PackageRecord[]>;
  /** Downloads into `directory`. As root, apt fetches as its own user, who should own that directory. */
  download(names: readonly string[], directory: string, onPercent: (percent: number) => void): Promise<void>;
}

const updateTimeoutMs = 5 * 60_000;
const downloadTimeoutMs = 30 * 60_000;
const queryTimeoutMs = 2 * 60_000;

/** `directory` is kept between builds (lists and their index); the settings are written anew every time. */
export async function openApt(directory: string, arch: Architecture, signal: AbortSignal): Promise<Apt> {
  const lists = join(directory, 'lists');
  await mkdir(join(lists, 'partial'), { recursive: true });
  await mkdir(join(directory, 'cache', 'archives', 'partial'), { recursive: true });
  await mkdir(join(directory, 'parts'), { recursive: true });
  await writeFile(join(directory, 'status'), '');
  const dump = await runToSuccess('apt-config', ['dump'], { timeoutMs: queryTimeoutMs, signal });
  const configFile = join(directory, 'apt.conf');
  await rm(configFile, { force: true });
  // Not for others to read: a proxy's address may hold a password.
  await writeFile(configFile, renderAptConfig(directory, arch, dump.stdout), { mode: 0o600 });

  const options = (given: Partial<ProgramOptions> = {}): ProgramOptions => ({
    timeoutMs: queryTimeoutMs,
    signal,
    env: { ...definedEnvironment(), APT_CONFIG: configFile, LC_ALL: 'C.UTF-8' },
    ...given,
  });

  return {
    async update(onPercent) {
      await runToSuccess(
        'apt-get',
        ['update', '-o', 'APT::Update::Error-Mode=any', '-o', 'APT::Status-Fd=1'],
        options({ timeoutMs: updateTimeoutMs, onLine: percentOf(onPercent) }),
      );
    },
    async hasLists() {
      return (await readdir(lists)).some((name) => /_Packages(\.|$)/.test(name));
    },
    async show(names) {
      const result = await runProgram('apt-cache', ['show', '--no-all-versions', '--', ...names], options());
      // Also 100 when no name is known, which is an answer.
      return result.exitCode === 0 ? parsePackageRecords(result.stdout) : [];
    },
    async download(names, into, onPercent) {
      await runToSuccess(
        'apt-get',
        ['download', '-o', 'APT::Status-Fd=1', '--', ...names],
        options({ cwd: into, timeoutMs: downloadTimeoutMs, onLine: percentOf(onPercent) }),
      );
    },
  };
}

function percentOf(onPercent: (percent: number) => void): (line: string) => void {
  return (line) => {
    const percent = downloadPercent(line);
    if (percent !== undefined) onPercent(percent);
  };
}

function definedEnvironment(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}
