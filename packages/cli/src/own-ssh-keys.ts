/**
 * The SSH keys of whoever runs `wirt`: their own, or else one that is made for Wirt, so that a new guest can be logged in to without
 * having asked for anything. Private keys are neither read nor sent anywhere.
 */
import { execFile } from 'node:child_process';
import { access, mkdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { Io } from './io.ts';

const kinds = ['id_ed25519', 'id_ecdsa', 'id_rsa'] as const;
const makeMs = 20_000;

type Home = Pick<Io, 'env'>;

function standardPaths({ env }: Home): string[] {
  const home = env['HOME'] ?? '';
  return home === '' ? [] : kinds.map((kind) => join(home, '.ssh', kind));
}

/** Of the key made for Wirt, which is perhaps not there. */
function wirtKeyPath({ env }: Home): string | undefined {
  const home = env['HOME'] ?? '';
  const configured = env['XDG_CONFIG_HOME'] ?? '';
  const folder = configured !== '' ? configured : home === '' ? undefined : join(home, '.config');
  return folder === undefined ? undefined : join(folder, 'wirt', 'id_ed25519');
}

/** Public keys, a line each. Makes a key when there is none; gives none where that cannot be done. */
export async function ownPublicKeys(io: Home): Promise<string[]> {
  const wirtKey = wirtKeyPath(io);
  const paths = [...standardPaths(io), ...(wirtKey === undefined ? [] : [wirtKey])];
  const found = await publicKeys(paths);
  if (found.length > 0 || wirtKey === undefined) return found;
  try {
    await mkdir(dirname(wirtKey), { recursive: true, mode: 0o700 });
    const argv = ['-q', '-t', 'ed25519', '-N', '', '-C', 'wirt', '-f', wirtKey];
    await promisify(execFile)('ssh-keygen', argv, { env: { ...io.env }, timeout: makeMs });
  } catch {
    // No ssh-keygen, or nowhere to write: then a key has to be given.
    return [];
  }
  return publicKeys([wirtKey]);
}

async function publicKeys(paths: readonly string[]): Promise<string[]> {
  const texts = await Promise.all(paths.map((path) => readFile(`${path}.pub`, 'utf8').catch(() => '')));
  return texts.map((text) => text.trim()).filter((text) => /^[a-z0-9@.-]+ AAAA\S+[^\n]*$/.test(text));
}

/** Private keys for `ssh -i`: none when ssh finds them all by itself. */
export async function identityFiles(io: Home): Promise<string[]> {
  const wirtKey = wirtKeyPath(io);
  if (wirtKey === undefined || !(await exists(wirtKey))) return [];
  // ssh looks for no other as soon as one is named.
  const others = await Promise.all(
    standardPaths(io).map(async (path) => ((await exists(path)) ? [path] : [])),
  );
  return [wirtKey, ...others.flat()];
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
