/** Pure: the argument vector of ssh for a guest, host keys as guests have them in files, and who logs in where by default. */
import type { Image } from '@wirt/api';

export interface SshTarget {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** What the host key is kept by: addresses are used again by other guests. */
  readonly alias: string;
  readonly identities: readonly string[];
}

/** With the file of known hosts, only what is in it is accepted; without one, a new key is taken on trust, and a changed one refused. */
export function sshArguments(
  { host, port, user, alias, identities }: SshTarget,
  knownHosts: string | undefined,
  command: readonly string[],
): string[] {
  const options = [
    `HostKeyAlias=${alias}`,
    'CheckHostIP=no',
    ...(knownHosts === undefined
      ? ['StrictHostKeyChecking=accept-new']
      : [
          'StrictHostKeyChecking=yes',
          `UserKnownHostsFile=${knownHosts}`,
          'GlobalKnownHostsFile=/dev/null',
          'UpdateHostKeys=no',
        ]),
  ];
  return [
    ...options.flatMap((option) => ['-o', option]),
    ...identities.flatMap((file) => ['-i', file]),
    ...['-p', String(port), '-l', user, host],
    ...(command.length === 0 ? [] : ['--', ...command]),
  ];
}

/** The strongest first. */
export const hostKeyFiles = ['ed25519', 'ecdsa', 'rsa'].map((kind) => `/etc/ssh/ssh_host_${kind}_key.pub`);

/** An RSA key of 16,384 bits has less. */
export const maxHostKeyBytes = 16_384;

/** Type and key, without the comment. Undefined for anything else that a guest may have there. */
export function hostKeyIn(text: string): string | undefined {
  const match =
    /^(ssh-ed25519|ecdsa-sha2-nistp(?:256|384|521)|ssh-rsa) (AAAA[A-Za-z0-9+/]+={0,2})(?:[ \t][^\n]*)?\r?\n?$/.exec(
      text,
    );
  return match === null ? undefined : `${match[1]} ${match[2]}`;
}

/** The users that the cloud images of distributions make. */
const users: readonly (readonly [distribution: RegExp, user: string])[] = [
  [/ubuntu|jammy|noble/i, 'ubuntu'],
  [/debian|bookworm|trixie/i, 'debian'],
  [/fedora/i, 'fedora'],
  [/centos/i, 'cloud-user'],
  [/alma/i, 'almalinux'],
  [/rocky/i, 'rocky'],
  [/opensuse|suse/i, 'opensuse'],
  [/arch/i, 'arch'],
  [/alpine/i, 'alpine'],
];

export function defaultUserOf(image: Image | undefined): string {
  if (image === undefined) return 'root';
  const { recipe = '', source = '' } = image.spec;
  const told = [recipe, image.status.description ?? '', source, image.name];
  for (const text of told) {
    const found = users.find(([distribution]) => distribution.test(text));
    if (found !== undefined) return found[1];
  }
  return 'root';
}
