/**
 * The files of a NoCloud seed, from what was asked for. The user's user-data stays as it is; what Wirt adds goes into
 * meta-data (instance id, host name, SSH keys) and vendor-data (the password, the guest agent), so that cloud-init itself merges both and the
 * user's word wins. Refuses what cloud-init would pass over in silence. Reads no YAML.
 *
 * Sources: cloud-init's datasources/nocloud and its modules cc_ssh and cc_set_passwords (22.4).
 */
import { type CloudInit, type Instance, WirtError } from '@wirt/api';
import { installAgent } from './cloud-init-agent.ts';
import { userDataProblem } from './user-data.ts';

export interface CloudInitRequest {
  /** cloud-init does its work once for each; a clone needs another. */
  readonly instanceId: string;
  readonly hostname: string;
  /** Lines as in `authorized_keys`, without options; for the image's default user. */
  readonly sshKeys: readonly string[];
  /** As crypt(5) writes it. */
  readonly passwordHash?: string;
  /** Whose password, a user that the image or user-data has; default: the image's default user, whatever its name. */
  readonly user?: string;
  readonly userData?: string;
  /** cloud-init's network configuration, version 1 or 2. */
  readonly networkConfig?: string;
  /** Whether the image may come without QEMU's guest agent, and the guest has a network to fetch it by. */
  readonly mayLackAgent?: boolean;
}

/** By file name. */
export interface SeedContent {
  readonly 'user-data': string;
  readonly 'meta-data': string;
  readonly 'network-config'?: string;
  readonly 'vendor-data'?: string;
}

/** Bytes of UTF-8 that a file of a seed may have. */
export const seedLimitsBytes = {
  'user-data': 1_048_576,
  'meta-data': 1_179_648,
  'network-config': 262_144,
  'vendor-data': 65_536,
} as const satisfies Record<keyof SeedContent, number>;

export const maxSshKeys = 64;
const maxSshKeyLength = 16_384;

/** Throws `request.invalid` for what a guest could not use. */
export function seedContentOf(request: CloudInitRequest): SeedContent {
  const { userData, networkConfig } = request;
  requireHostname(request.hostname);
  if (request.sshKeys.length > maxSshKeys)
    throw refused(`A guest takes at most ${maxSshKeys} SSH keys, and these are ${request.sshKeys.length}.`);
  if (networkConfig !== undefined) requireNetworkConfig(networkConfig);
  if (userData !== undefined) requireUserData(userData);
  const vendorData = vendorDataOf(request);
  return {
    // The file has to be there for the seed to count as one.
    'user-data': userData ?? '#cloud-config\n{}\n',
    'meta-data': metaData(request),
    ...(networkConfig === undefined ? {} : { 'network-config': networkConfig }),
    ...(vendorData === undefined ? {} : { 'vendor-data': vendorData }),
  };
}

/** Throws `request.invalid` for an instance that the metadata service could not tell all that it is to be told. */
export function requireMetadata(
  { name, spec }: Pick<Instance, 'name' | 'spec'>,
  { passwordHash, networkConfig }: Pick<CloudInit, 'passwordHash' | 'networkConfig'>,
): void {
  const seed = 'Let it have a seed: `--cloud-init seed`.';
  if (passwordHash !== undefined)
    throw refused(`Instance ${name} cannot be told a password by the metadata service.`, seed);
  if (networkConfig !== undefined)
    throw refused(`Instance ${name} cannot be told a network-config by the metadata service.`, seed);
  if (spec.machine === 'microvm')
    throw refused(
      `Instance ${name} is a microvm, which cannot tell cloud-init to ask the metadata service.`,
      seed,
    );
  if (!spec.metadata.enabled || spec.nics.length === 0)
    throw refused(
      `Instance ${name} is to be set up by the metadata service, and ${spec.nics.length === 0 ? 'has no network card' : 'it is switched off for it'}.`,
      seed,
    );
}

/** JSON, which is YAML too, and leaves no question of quoting. */
function asYaml(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

function metaData({ instanceId, hostname, sshKeys }: CloudInitRequest): string {
  const keys = sshKeys.map(checkedSshKey);
  return asYaml({
    'instance-id': instanceId,
    'local-hostname': hostname,
    ...(keys.length === 0 ? {} : { 'public-keys': keys }),
  });
}

/** Several parts are an archive, of whose parts each is taken as if it were alone (cloud-init's user-data formats). */
function vendorDataOf({ passwordHash, user, mayLackAgent = false }: CloudInitRequest): string | undefined {
  const password = passwordHash === undefined ? undefined : passwordConfig(passwordHash, user);
  if (!mayLackAgent) return password;
  if (password === undefined) return installAgent;
  const parts = [
    { type: 'text/cloud-config', content: password },
    { type: 'text/x-shellscript', content: installAgent },
  ];
  return `#cloud-config-archive\n${asYaml(parts)}`;
}

/**
 * `password` reaches the default user under any name, in every cloud-init; but what it does not know as a hash it would set
 * as the password itself. `chpasswd.users` (22.3) takes every hash and needs the name.
 */
function passwordConfig(hash: string, user: string | undefined): string {
  requireHash(hash, user);
  const forUser =
    user === undefined
      ? { password: hash, chpasswd: { expire: false } }
      : { chpasswd: { users: [{ name: user, password: hash, type: 'hash' }], expire: false } };
  return `#cloud-config\n${asYaml({ ...forUser, ssh_pwauth: true })}`;
}

// crypt(5). DES and its relatives are left out: nobody's hash of today, and anything of 13 letters would look like one.
const cryptHash = /^\$(1|2[aby]|5|6|7|y|gy)\$[!-9;-~]+$/;
const hashForPassword = /^\$(1|2[ay]|5|6)(\$[^$]+){2,}$/;

function requireHash(hash: string, user: string | undefined): void {
  // The text is not shown: somebody may have put the password itself there.
  if (!cryptHash.test(hash)) {
    throw refused(
      'The password hash is not one of crypt(3).',
      'Let `wirt run --password` ask for the password, or make a hash: openssl passwd -6',
    );
  }
  if (user === undefined && !hashForPassword.test(hash)) {
    const method = hash.slice(0, hash.indexOf('$', 1) + 1);
    throw refused(
      `cloud-init takes a ${method} hash for a user by name only.`,
      'Name the user beside it, or make a hash of another kind: openssl passwd -6',
    );
  }
  if (user !== undefined && !/^[a-z_][a-z0-9_-]{0,31}$/.test(user))
    throw refused(`The user ${JSON.stringify(user)} is not a name that Linux allows.`);
}

const sshKeyTypes: ReadonlySet<string> = new Set([
  'ssh-ed25519',
  'ssh-rsa',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'sk-ssh-ed25519@openssh.com',
  'sk-ecdsa-sha2-nistp256@openssh.com',
]);

function checkedSshKey(line: string): string {
  const key = line.trim();
  // A private key is never shown again, not in an error either.
  if (key.startsWith('-----BEGIN') || key.startsWith('PuTTY-User-Key'))
    throw refused('An SSH key is a private one.', 'Give the public one: the file that ends in .pub');
  const [type = '', blob = ''] = key.split(/[ \t]+/);
  // Line breaks of any kind would begin another line of authorized_keys.
  if (key.length > maxSshKeyLength || /[\p{Cc}\u2028\u2029]/u.test(key.replaceAll('\t', ' ')))
    throw refused('An SSH key is not one line.', 'Give each key by itself.');
  if (!sshKeyTypes.has(type)) {
    throw refused(
      `An SSH key begins with ${JSON.stringify(type.slice(0, 40))}, which is no type of key.`,
      `A key is a line of TYPE BASE64 [COMMENT], as in ~/.ssh/id_ed25519.pub; types: ${[...sshKeyTypes].join(', ')}`,
    );
  }
  // The length of the type's name, in four bytes, begins every key: 00 00 00.
  if (!/^AAAA[A-Za-z0-9+/]{12,}={0,2}$/.test(blob) || blob.length % 4 !== 0)
    throw refused(
      `An SSH key of type ${type} is cut off or mistyped.`,
      'Copy the whole line of the .pub file.',
    );
  return key;
}

function requireHostname(hostname: string): void {
  // 64 is the kernel's limit.
  const label = '[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?';
  if (hostname.length <= 64 && new RegExp(`^${label}(\\.${label})*$`, 'i').test(hostname)) return;
  throw refused(`${JSON.stringify(hostname.slice(0, 80))} cannot be a host name.`);
}

function requireUserData(text: string): void {
  requireText('user-data', text);
  const problem = userDataProblem(text);
  if (problem !== undefined) throw refused(`The user-data ${problem.what}.`, problem.hint);
}

function requireNetworkConfig(text: string): void {
  requireText('network-config', text);
  if (text.trim() === '' || /^\s*#(cloud-config|!)/i.test(text)) {
    throw refused(
      `The network-config is ${text.trim() === '' ? 'empty' : 'user-data'}.`,
      'It is YAML of its own, as in `version: 2`: see cloud-init’s network configuration formats.',
    );
  }
}

function requireText(name: keyof SeedContent, text: string): void {
  const limit = seedLimitsBytes[name];
  if (utf8Length(text) > limit)
    throw refused(`The ${name} is larger than ${limit / 1024} KiB.`, 'Let it fetch what is large: #include');
  if (text.includes('\0') || !text.isWellFormed()) throw refused(`The ${name} is not text.`);
}

/** Bytes of the text in UTF-8. */
export function utf8Length(text: string): number {
  let bytes = 0;
  for (const character of text) {
    const point = character.codePointAt(0) ?? 0;
    bytes += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x1_0000 ? 3 : 4;
  }
  return bytes;
}

function refused(message: string, hint?: string): WirtError {
  return new WirtError('request.invalid', message, hint === undefined ? {} : { hint });
}
