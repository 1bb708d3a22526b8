/** What `wirt run` tells cloud-init in the guest: files, SSH keys and a password, each read here and checked as far as that goes. */
import { readFile, stat } from 'node:fs/promises';
import type { Image } from '@wirt/api';
import type { CallInput } from '@wirt/api/client';
import { WirtError } from '@wirt/api/errors';
import type { Context, OptionSpecs, OptionValues } from '../command.ts';
import { ownPublicKeys } from '../own-ssh-keys.ts';
import { usageError } from '../parse.ts';
import { hashPassword } from '../sha512-crypt.ts';

type CloudInit = NonNullable<CallInput<'POST /v1/instances'>['body']['spec']['cloudInit']>;

export const seedOptions = {
  'ssh-key': {
    kind: 'text',
    value: 'FILE|KEY',
    many: true,
    complete: 'file',
    summary: 'A public key for the default user (default your own, see below)',
  },
  'no-ssh-key': { kind: 'flag', summary: 'Give the guest no SSH key' },
  password: { kind: 'flag', summary: 'Ask for a password, or read it from standard input; its hash is sent' },
  user: { kind: 'text', value: 'USER', summary: 'Whose password (default the image’s default user)' },
  hostname: { kind: 'text', value: 'HOST', summary: 'Host name in the guest (default the instance’s name)' },
  'user-data': {
    kind: 'text',
    value: 'FILE',
    complete: 'file',
    summary: 'user-data for cloud-init, as it is',
  },
  'network-config': {
    kind: 'text',
    value: 'FILE',
    complete: 'file',
    summary: 'Network configuration for cloud-init, version 1 or 2',
  },
  'cloud-init': {
    kind: 'choice',
    choices: ['seed', 'metadata'],
    summary: 'Where cloud-init is told: by a drive, or over the network as in EC2 (default seed)',
  },
} as const satisfies OptionSpecs;

type SeedValues = OptionValues<typeof seedOptions>;

/** What the contract takes at most. */
const maxUserDataBytes = 1_048_576;
const maxNetworkConfigBytes = 262_144;
const maxKeyFileBytes = 262_144;

function asked(given: SeedValues): boolean {
  const { password, user, hostname, 'cloud-init': datasource } = given;
  const files = [given['user-data'], given['network-config']];
  return (
    password ||
    given['ssh-key'].length > 0 ||
    [...files, user, hostname, datasource].some((value) => value !== undefined)
  );
}

/** Undefined when cloud-init is told nothing: nothing was asked, and the image is not known to have it. */
export async function cloudInitSpec(
  { io }: Context,
  given: SeedValues,
  image: Image | undefined,
): Promise<CloudInit | undefined> {
  if (given['no-ssh-key'] && given['ssh-key'].length > 0)
    throw usageError('run', '--no-ssh-key and --ssh-key exclude each other.');
  const { 'cloud-init': datasource } = given;
  if (!asked(given) && image?.status.cloudInit !== true) return undefined;
  if (image?.spec.format === 'kernel')
    throw usageError(
      'run',
      `Image ${image.name} is a kernel without cloud-init: there is nobody to take keys, passwords or user-data.`,
      'Use `wirt exec` and `wirt cp`, or an image such as debian-12.',
    );
  const { user, hostname, 'user-data': userDataFile, 'network-config': networkFile } = given;
  const sshKeys = given['no-ssh-key']
    ? []
    : given['ssh-key'].length > 0
      ? (await Promise.all(given['ssh-key'].map(keysOf))).flat()
      : await ownPublicKeys(io);
  const userData = await textOf('--user-data', userDataFile, maxUserDataBytes);
  const networkConfig = await textOf('--network-config', networkFile, maxNetworkConfigBytes);
  const passwordHash = given.password ? await askedPassword(io) : undefined;
  return {
    ...(datasource === undefined ? {} : { datasource }),
    ...(hostname === undefined ? {} : { hostname }),
    ...(user === undefined ? {} : { user }),
    ...(sshKeys.length === 0 ? {} : { sshKeys }),
    ...(passwordHash === undefined ? {} : { passwordHash }),
    ...(userData === undefined ? {} : { userData }),
    ...(networkConfig === undefined ? {} : { networkConfig }),
  };
}

async function askedPassword(io: Context['io']): Promise<string> {
  const { readNewPassword } = await import('../password.ts');
  return hashPassword(await readNewPassword(io));
}

async function textOf(
  option: string,
  path: string | undefined,
  maxBytes: number,
): Promise<string | undefined> {
  if (path === undefined) return undefined;
  const bytes = await readSmall(option, path, maxBytes);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new WirtError('request.invalid', `${option}: ${path} is not UTF-8 text.`, { cause });
  }
}

async function readSmall(option: string, path: string, maxBytes: number): Promise<Buffer> {
  try {
    const { size } = await stat(path);
    if (size <= maxBytes) {
      const bytes = await readFile(path);
      if (bytes.length <= maxBytes) return bytes;
    }
  } catch (cause) {
    throw new WirtError('request.invalid', `${option}: ${path} cannot be read.`, { cause });
  }
  throw usageError('run', `${option}: ${path} is larger than the ${maxBytes} bytes that are allowed.`);
}

const keyLine = /^(ssh-|ecdsa-sha2-|sk-)\S+\s+\S/;

/** The key itself, or the keys of a file as `.pub` and `authorized_keys` have them. Never shows what could be a private key. */
async function keysOf(text: string): Promise<string[]> {
  if (isPrivate(text))
    throw privateKey('--ssh-key', 'Give the public key: the line of the file that ends in .pub.');
  if (keyLine.test(text)) return [text.trim()];
  const content = (await readSmall('--ssh-key', text, maxKeyFileBytes)).toString('utf8');
  if (isPrivate(content)) throw privateKey(text, `Give the public one: \`--ssh-key ${text}.pub\`.`);
  const keys = content
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
  const wrong = keys.find((line) => !keyLine.test(line));
  if (keys.length === 0 || wrong !== undefined)
    throw usageError(
      'run',
      `--ssh-key: ${text} has no OpenSSH public key${wrong === undefined ? '' : ' in one of its lines'}.`,
      'A public key is a line of TYPE BASE64 [COMMENT], as in ~/.ssh/id_ed25519.pub.',
    );
  return keys;
}

function isPrivate(text: string): boolean {
  return /-----BEGIN [A-Z0-9 ]*PRIVATE KEY|^PuTTY-User-Key-File/m.test(text);
}

function privateKey(where: string, hint: string): WirtError {
  return usageError('run', `${where} is a private key, which must not leave you.`, hint);
}
