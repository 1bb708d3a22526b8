// Network interfaces of the host's devices, in the network namespace of the daemon: an interface that was given to another
// namespace is not seen.
import { networkInterfaces } from 'node:os';
import type { HostFiles } from '../../platform/host-files.ts';
import { devicesOfPath } from './sysfs-paths.ts';
import type { InterfaceFacts } from './uses.ts';

/** Addresses by the interface's name, as the kernel tells them by netlink; sysfs has none. */
export type ReadAddresses = () => Readonly<Record<string, readonly string[]>>;

export const hostAddresses: ReadAddresses = () =>
  Object.fromEntries(
    Object.entries(networkInterfaces()).map(([name, addresses]) => [
      name,
      (addresses ?? []).filter(({ scopeid }) => !scopeid).map(({ address }) => address),
    ]),
  );

export async function readInterfaces(
  files: HostFiles,
  addresses: ReadAddresses,
): Promise<readonly InterfaceFacts[]> {
  const [names, byName, withRoute] = [
    await files.list('/sys/class/net'),
    addresses(),
    await interfacesWithDefaultRoute(files),
  ];
  return Promise.all(
    names.map(async (name) => {
      const path = `/sys/class/net/${name}`;
      const [entries, master, real] = await Promise.all([
        files.list(path),
        files.linkName(`${path}/master`),
        files.realPath(path),
      ]);
      return {
        name,
        devices: devicesOfPath(real),
        addresses: byName[name] ?? [],
        hasDefaultRoute: withRoute.has(name),
        ...(master === undefined ? {} : { master }),
        uppers: entries.flatMap((entry) => /^upper_(.+)$/.exec(entry)?.[1] ?? []),
      };
    }),
  );
}

/** The main table of IPv4, and all of IPv6: /proc/net/route and ipv6_route (Linux, net/ipv4/fib_trie.c, net/ipv6/route.c). */
async function interfacesWithDefaultRoute(files: HostFiles): Promise<ReadonlySet<string>> {
  const ipv4 = ((await files.text('/proc/net/route')) ?? '').split('\n').slice(1);
  const ipv6 = ((await files.text('/proc/net/ipv6_route')) ?? '').split('\n');
  const names = [
    ...ipv4
      .map((line) => line.split('\t'))
      .flatMap(([name, to, , , , , , mask]) =>
        name !== undefined && Number.parseInt(to ?? '1', 16) === 0 && Number.parseInt(mask ?? '1', 16) === 0
          ? [name]
          : [],
      ),
    // Destination and length of its prefix come first, the interface last (lo, where there is no way).
    ...ipv6.flatMap((line) => /^0{32} 00 .* (\S+)$/.exec(line.trimEnd())?.[1] ?? []),
  ];
  return new Set(names);
}
