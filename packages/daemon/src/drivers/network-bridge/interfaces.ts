/** The host's interfaces as core asks for them: who has which MAC and which address, whoever made them. */
import type { HostInterface } from '@wirt/core';
import { readLinks } from './ip.ts';

export async function hostInterfaces(signal: AbortSignal): Promise<HostInterface[]> {
  return [...(await readLinks(signal)).values()].map(({ name, mac, addresses }) => ({
    name,
    ...(mac === '' ? {} : { mac }),
    addresses: addresses.map((address) => address.split('/')[0] ?? address),
  }));
}
