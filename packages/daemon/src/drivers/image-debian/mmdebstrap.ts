// Runs mmdebstrap as root in namespaces of its own: what it mounts is mounted nowhere else, and when it is killed, or this
// daemon is, all its processes and mounts are gone with the namespaces. It needs the network, so that is the host's.
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BuildProgress } from '@wirt/core';
import { runProgram, runToSuccess, SubprocessError } from '../../platform/subprocess.ts';
import { customizeHook, essentialHook, type HookEnvironment, setupHook } from './hooks.ts';
import { packages, suite } from './packages.ts';
import { progressReader, tellingLine } from './progress.ts';
import { parseTargets, sourceEntries, targetFormat } from './sources.ts';

/** Makes the essential part with /usr merged, so that no package has to do it later. */
export const mergedUsrHooks = '/usr/share/mmdebstrap/hooks/merged-usr';
const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';
const bootstrapTimeoutMs = 25 * 60_000;
const queryTimeoutMs = 2 * 60_000;

export interface BootstrapFiles {
  readonly root: string;
  readonly hooks: string;
  readonly aptConfig: string;
  /** Undefined: mmdebstrap's own choice. */
  readonly sources: string | undefined;
}

/** Arguments of setpriv(1). Sources: setpriv(1), unshare(1), mmdebstrap(1). */
export function bootstrapArguments(files: BootstrapFiles): readonly string[] {
  return [
    ...[
      '--pdeathsig',
      'KILL',
      'unshare',
      '--mount',
      '--pid',
      '--uts',
      '--ipc',
      '--fork',
      '--kill-child=SIGKILL',
      '--mount-proc',
      '--',
    ],
    ...['mmdebstrap', '--verbose', '--mode=root', '--format=directory', '--variant=minbase'],
    ...['--architectures=amd64', `--include=${packages.join(',')}`],
    // Both are removed from the image again. A crash leaves nothing that anybody would want to keep.
    ...[`--aptopt=${files.aptConfig}`, '--dpkgopt=force-unsafe-io'],
    ...['--skip=essential/unlink', `--hook-dir=${mergedUsrHooks}`],
    `--setup-hook=${join(files.hooks, 'setup')}`,
    `--essential-hook=${join(files.hooks, 'essential')}`,
    `--customize-hook=${join(files.hooks, 'customize')}`,
    ...[suite, files.root, ...(files.sources === undefined ? [] : [files.sources])],
  ];
}

/** Source: apt.conf(5). How to reach the packages; no hooks, nothing that weakens a check. */
const takenFromHost =
  /^Acquire::(?:(?:https?|ftp)(?:::| )|(?:ForceIPv[46]|Check-Date|Check-Valid-Until|Max-ValidTime)\b)/i;

export function aptConfig(hostDump: string): string {
  const own = ['Acquire::Languages "none";', 'Acquire::Retries "2";', 'Acquire::http::Timeout "30";'];
  return `${[...hostDump.split('\n').filter((line) => takenFromHost.test(line)), ...own].join('\n')}\n`;
}

/** Throws `SubprocessError`. Everything but the cache lies in `scratch`. */
export async function bootstrap(options: {
  readonly scratch: string;
  readonly root: string;
  readonly environment: HookEnvironment;
  readonly env: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  onProgress(progress: BuildProgress): void;
}): Promise<void> {
  const { scratch, root, signal, env } = options;
  const query = { timeoutMs: queryTimeoutMs, signal, env };
  const dump = await runToSuccess('apt-config', ['dump'], query);
  const targets = await runProgram(
    'apt-get',
    ['indextargets', '--format', targetFormat, 'Created-By: Packages'],
    query,
  );
  const entries = sourceEntries(parseTargets(targets.stdout), suite, keyring);

  const files = {
    root,
    hooks: join(scratch, 'hooks'),
    aptConfig: join(scratch, 'apt.conf'),
    sources: entries.length === 0 ? undefined : join(scratch, 'sources.list'),
  };
  // Not for others to read, and not in arguments: addresses may hold passwords.
  await writeFile(files.aptConfig, aptConfig(dump.stdout), { mode: 0o600 });
  if (files.sources !== undefined) await writeFile(files.sources, `${entries.join('\n')}\n`, { mode: 0o600 });
  await mkdir(files.hooks);
  for (const [name, text] of Object.entries({
    setup: setupHook,
    essential: essentialHook,
    customize: customizeHook,
  })) {
    await writeFile(join(files.hooks, name), text);
    await chmod(join(files.hooks, name), 0o755);
  }

  // The initramfs is made once, at the end, and not by each package that would have it made.
  const environment = { ...env, ...options.environment, INITRD: 'No' };
  await runToSuccess('setpriv', bootstrapArguments(files), {
    env: environment,
    timeoutMs: bootstrapTimeoutMs,
    signal,
    maxStderrBytes: 4 * 1024 * 1024,
    onLine: progressReader(options.onProgress),
  }).catch((error: unknown) => {
    throw withTellingLine(error);
  });
}

function withTellingLine(error: unknown): unknown {
  if (!(error instanceof SubprocessError) || error.failure !== 'failed' || error.result === undefined)
    return error;
  const line = tellingLine(error.result.stderr);
  if (line === undefined) return error;
  return new SubprocessError('failed', 'mmdebstrap', `mmdebstrap failed: ${line}`, {
    result: error.result,
    cause: error,
  });
}
