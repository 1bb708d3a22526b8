// Whether passt is taken: installed, known to QEMU, with something to stand for, and worth it.
import { access, constants, readFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

export type PasstWanted = 'auto' | 'always' | 'never';

export interface PasstChoice {
  readonly usable: boolean;
  /** The option by which QEMU connects again, where it has one. */
  readonly reconnect: 'reconnect' | 'reconnect-ms' | undefined;
  /** Why not. */
  readonly why: string;
}

export interface PasstSights {
  readonly wanted: PasstWanted;
  readonly installed: boolean;
  readonly features: Readonly<Record<string, boolean>>;
  /** Of /etc/resolv.conf. */
  readonly resolvers: readonly string[];
}

/** Pure. */
export function judgePasst({ wanted, installed, features, resolvers }: PasstSights): PasstChoice {
  const option =
    features['stream-reconnect-ms'] === true
      ? 'reconnect-ms'
      : features['stream-reconnect'] === true
        ? 'reconnect'
        : undefined;
  const no = (why: string): PasstChoice => ({ usable: false, reconnect: option, why });
  if (wanted === 'never') return no('it is not wanted');
  if (!installed) return no('passt is not installed');
  if (features['stream-network'] !== true) return no('this QEMU has no stream netdev');
  if (wanted === 'auto' && option === undefined)
    return no('this QEMU does not connect again to a passt that was lost');
  // Guests do not reach the host's loopback by passt, and so no resolver there.
  if (!resolvers.some((address) => !/^(127\.|::1$)/.test(address)))
    return no('the host asks for names on its loopback only');
  return { usable: true, reconnect: option, why: '' };
}

export async function choosePasst(options: {
  readonly passt?: PasstWanted;
  qemuFeatures(signal: AbortSignal): Promise<Readonly<Record<string, boolean>>>;
}): Promise<PasstChoice> {
  const { passt: wanted = 'auto' } = options;
  if (wanted === 'never') return judgePasst({ wanted, installed: false, features: {}, resolvers: [] });
  const [installed, features, resolv] = await Promise.all([
    isInstalled('passt'),
    options.qemuFeatures(AbortSignal.timeout(30_000)),
    readFile('/etc/resolv.conf', 'utf8').catch(() => ''),
  ]);
  const resolvers = [...resolv.matchAll(/^nameserver\s+(\S+)/gm)].map(([, address = '']) => address);
  return judgePasst({ wanted, installed, features, resolvers });
}

async function isInstalled(name: string): Promise<boolean> {
  const directories = (process.env['PATH'] ?? '').split(delimiter).filter(Boolean);
  const found = await Promise.all(
    directories.map((directory) =>
      access(join(directory, name), constants.X_OK).then(
        () => true,
        () => false,
      ),
    ),
  );
  return found.includes(true);
}
