// Probes the QEMU binary: one start without a machine, a few questions over QMP on its standard input, some 150 ms; kept on
// disk for this very binary (path, size, time of change) and asked again when it changes. What fails is not kept.
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access, mkdir, readFile, stat } from 'node:fs/promises';
import { delimiter, join, resolve } from 'node:path';
import { WirtError } from '@wirt/api';
import type { Logger } from '@wirt/core';
import { writeFileAtomically } from '../../platform/atomic-file.ts';
import { runProgram } from '../../platform/subprocess.ts';
import { missingFeatures, parseProbe, probeCommands, type QemuFacts } from './qemu-features.ts';

/** Part of the cache's file name: a change of the questions or of what is read from the answers is a new number. */
const probeVersion = 3;
const probeTimeoutMs = 20_000;

export interface Qemu extends QemuFacts {
  /** The absolute path. */
  readonly binary: string;
}

export interface QemuProbe {
  /** Throws `host.qemu_missing` or `host.qemu_broken`. What it lacks is among its features: see `requireFeatures`. */
  probe(signal: AbortSignal): Promise<Qemu>;
}

export interface QemuProbeOptions {
  /** A path, or a name to look for in PATH. */
  readonly qemuBinary: string;
  readonly cacheDirectory: string;
  readonly logger: Logger;
}

export const installQemu =
  process.arch === 'arm64'
    ? 'apt-get install -y --no-install-recommends qemu-system-arm'
    : 'apt-get install -y --no-install-recommends qemu-system-x86';

export function createQemuProbe({ qemuBinary, cacheDirectory, logger }: QemuProbeOptions): QemuProbe {
  const known = new Map<string, Promise<QemuFacts>>();

  async function cachedFacts(binary: string, key: string): Promise<QemuFacts> {
    const file = join(cacheDirectory, `qemu-${key}.json`);
    const cached = parseCached(await readFile(file, 'utf8').catch(() => ''));
    if (cached !== undefined) return cached;
    const facts = await askBinary(binary);
    logger.info('host.qemu_probed', { binary, version: facts.version, missing: missingFeatures(facts) });
    try {
      await mkdir(cacheDirectory, { recursive: true });
      await writeFileAtomically(file, `${JSON.stringify(facts)}\n`, { mode: 0o644 });
    } catch (error) {
      // The next daemon asks again, which is slower and nothing else.
      logger.warn('host.qemu_probe_not_cached', { file, error: String(error) });
    }
    return facts;
  }

  return {
    async probe(signal) {
      const binary = await findBinary(qemuBinary);
      const { size, mtimeMs } = await stat(binary);
      const identity = [probeVersion, binary, size, mtimeMs].join('\0');
      const key = createHash('sha256').update(identity).digest('hex').slice(0, 16);
      let facts = known.get(key);
      if (facts === undefined) {
        // Asked on its own deadline: whoever gives up waiting does not fail the others that wait.
        facts = cachedFacts(binary, key);
        known.set(key, facts);
        facts.catch(() => known.delete(key));
      }
      return { binary, ...(await unlessAborted(facts, signal)) };
    },
  };
}

/** Throws `host.qemu_too_old` when QEMU lacks what every guest needs. */
export function requireFeatures(qemu: Qemu): Qemu {
  const missing = missingFeatures(qemu);
  if (missing.length === 0) return qemu;
  throw new WirtError('host.qemu_too_old', `${qemu.binary} (${qemu.version}) cannot run Wirt's guests.`, {
    cause: new Error(`it lacks ${missing.join(', ')}`),
    hint: `Install QEMU 7.2 or newer, built with these: \`${installQemu}\`, or name another with --qemu.`,
    details: { binary: qemu.binary, version: qemu.version, missing },
  });
}

async function findBinary(name: string): Promise<string> {
  const directories = (process.env['PATH'] ?? '').split(delimiter).filter(Boolean);
  const candidates = name.includes('/')
    ? [resolve(name)]
    : directories.map((directory) => join(directory, name));
  for (const candidate of candidates) {
    const isUsable = await access(candidate, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (isUsable && (await stat(candidate)).isFile()) return candidate;
  }
  throw new WirtError('host.qemu_missing', `No executable QEMU binary ${name} was found.`, {
    hint: `Install it: \`${installQemu}\`, or name another with --qemu.`,
    details: { binary: name },
  });
}

async function askBinary(binary: string): Promise<QemuFacts> {
  const args = ['-S', '-machine', 'none', '-nodefaults', '-no-user-config', '-display', 'none'];
  try {
    const result = await runProgram(binary, [...args, '-qmp', 'stdio'], {
      stdin: `${probeCommands.map((command) => JSON.stringify(command)).join('\n')}\n`,
      timeoutMs: probeTimeoutMs,
      maxStdoutBytes: 16 * 1024 * 1024,
    });
    if (result.exitCode !== 0) throw new Error(lastLine(result.stderr) ?? `exit status ${result.exitCode}`);
    return parseProbe(result.stdout);
  } catch (cause) {
    throw new WirtError('host.qemu_broken', `The QEMU binary ${binary} does not answer.`, {
      cause,
      hint: `See what it says: \`${binary} --version\`. To install it again: \`${installQemu} --reinstall\`.`,
      details: { binary },
    });
  }
}

async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const giveUp = (): void => reject(signal.reason);
  signal.addEventListener('abort', giveUp, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener('abort', giveUp);
  }
}

function lastLine(text: string): string | undefined {
  return text.trimEnd().split('\n').at(-1)?.slice(0, 500) || undefined;
}

function parseCached(text: string): QemuFacts | undefined {
  try {
    const facts = JSON.parse(text) as Partial<QemuFacts> | null;
    const { version, machines, maxCpus, features } = facts ?? {};
    if (typeof version !== 'string' || !Array.isArray(machines)) return undefined;
    if (typeof maxCpus !== 'object' || typeof features !== 'object') return undefined;
    return { version, machines, maxCpus, features };
  } catch {
    return undefined;
  }
}
