/** Guests on loopback addresses for the tests of the metadata service, which knows them by the address that they connect from. */
import { createServer } from 'node:net';
import type { MetadataActions, MetadataEndpoint, MetadataGuest } from '@wirt/core';

export interface GivenGuest extends Partial<Omit<MetadataGuest, 'at' | 'userData'>> {
  readonly userData?: string;
  readonly secret?: string;
}

export function guestOf(id: string, given: GivenGuest = {}): MetadataGuest {
  const { userData, secret = `secret of ${id}`, enabled = true, tokens = 'required' } = given;
  const values: Readonly<Record<string, string>> = {
    'meta-data/instance-id': id,
    'meta-data/secret': secret,
    'meta-data/public-keys/0/openssh-key': 'ssh-ed25519 AAAA',
    'meta-data/tags/instance/example.com/role': 'web',
    'meta-data/tags/instance/empty': '',
  };
  const folders: Readonly<Record<string, string>> = {
    '': 'dynamic\nmeta-data',
    'meta-data': 'instance-id\npublic-keys/',
    'meta-data/public-keys': '0=key-0',
    'meta-data/public-keys/0': 'openssh-key',
    'dynamic/instance-identity': 'document',
  };
  return {
    id,
    enabled,
    tokens,
    hasUserData: userData !== undefined,
    at: (names) => {
      const path = names.join('/');
      const text = values[path];
      if (text !== undefined) return { text, isFolder: false };
      const listing = folders[path];
      return listing === undefined ? undefined : { text: listing, isFolder: true };
    },
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
