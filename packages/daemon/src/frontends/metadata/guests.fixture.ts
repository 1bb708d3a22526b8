/** Guests on loopback addresses for the tests of the metadata service, which knows them by the address that they connect from. */
import { createServer } from 'node:net';
import type {
  MetadataActions,
  MetadataEndpoint,
  MetadataFolder,
  MetadataGuest,
  MetadataNode,
} from '@wirt/core';

export function folderOf(given: Readonly<Record<string, MetadataNode>>): MetadataFolder {
  const entries = new Map(Object.entries(given));
  const lines = [...entries].map(([name, node]) => (typeof node === 'string' ? name : `${name}/`));
  return { entries, listing: lines.join('\n') };
}

export interface GivenGuest extends Partial<Omit<MetadataGuest, 'tree' | 'userData'>> {
  readonly userData?: string;
  readonly secret?: string;
}

export function guestOf(id: string, given: GivenGuest = {}): MetadataGuest {
  const { userData, secret = `secret of ${id}`, enabled = true, tokens = 'required' } = given;
  return {
    id,
    enabled,
    tokens,
    hasUserData: userData !== undefined,
    tree: () => ({
      ...folderOf({
        'meta-data': folderOf({
          'instance-id': id,
          secret,
          'public-keys': {
            listing: '0=key-0',
            entries: new Map([['0', folderOf({ 'openssh-key': 'ssh-ed25519 AAAA' })]]),
          },
          tags: folderOf({ instance: folderOf({ 'example.com/role': 'web', empty: '' }) }),
        }),
        dynamic: folderOf({ 'instance-identity': folderOf({ document: '{}' }) }),
      }),
      listing: 'dynamic\nmeta-data',
    }),
    userData: async () => (userData === undefined ? undefined : Buffer.from(userData)),
  };
}

/** Networks that come and go at will, and guests by network and address. */
export interface FakeMetadata extends MetadataActions {
  readonly guests: Map<string, MetadataGuest>;
  become(endpoints: readonly MetadataEndpoint[]): void;
  /** Makes the stream of endpoints end with an error, once. */
  break(): void;
}

export function fakeMetadata(): FakeMetadata {
  const guests = new Map<string, MetadataGuest>();
  let present: readonly MetadataEndpoint[] = [];
  let changed = Promise.withResolvers<void>();
  const tell = (): void => {
    changed.resolve();
    changed = Promise.withResolvers();
  };
  let broken = false;
  return {
    guests,
    guest: async (network, address) => guests.get(`${network} ${address}`),
    become: (endpoints) => {
      present = endpoints;
      tell();
    },
    break: () => {
      broken = true;
      tell();
    },
    async *endpoints(signal) {
      const aborted = Promise.withResolvers<void>();
      signal.addEventListener('abort', () => aborted.resolve(), { once: true });
      while (!signal.aborted) {
        const next = changed.promise;
        if (broken) {
          broken = false;
          throw new Error('the store has failed');
        }
        yield present;
        await Promise.race([next, aborted.promise]);
      }
    },
  };
}

/** A port that nobody has on this address. */
export async function freePort(address: string): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, address, resolve);
  });
  const given = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof given === 'object' && given !== null ? given.port : 0;
}
