/** Whether the host passes packets on: switched on while a network needs it, and put back with the last one. See ip-sysctl.rst. */
import { readdir } from 'node:fs/promises';
import type { NetworkPlan } from '@wirt/core';
import type { HostSettings } from './host-settings.ts';

const ipv4 = 'net/ipv4/ip_forward';
const ipv6 = 'net/ipv6/conf/all/forwarding';

/** Returns what had been switched off by somebody since `expected` was the case. */
export async function setForwarding(plan: NetworkPlan, settings: HostSettings): Promise<string[]> {
  const needs = neededForwarding(plan);
  const done: string[] = [];
  if (needs.ipv4 && (await settings.read(ipv4)) !== '1') {
    // The kernel sets these anew with it.
    const redirects = await current(settings, 'net/ipv4/conf', 'accept_redirects');
    await settings.set({ [ipv4]: '1' });
    await settings.setOwn(redirects);
    done.push('IPv4 forwarding was off');
  }
  if (needs.ipv6 && (await settings.read(ipv6)) === '0') {
    // A host that forwards takes no router advertisements, unless it is told to: it would lose its own default route.
    const accepting = await current(settings, 'net/ipv6/conf', 'accept_ra');
    await settings.set(
      Object.fromEntries(
        Object.entries(accepting).flatMap(([name, value]) => (value === '1' ? [[name, '2']] : [])),
      ),
    );
    await settings.set({ [ipv6]: '1' });
    done.push('IPv6 forwarding was off');
  }
  return done;
}

export async function isForwarding(plan: NetworkPlan, settings: HostSettings): Promise<boolean> {
  const needs = neededForwarding(plan);
  if (needs.ipv4 && (await settings.read(ipv4)) !== '1') return false;
  return !needs.ipv6 || (await settings.read(ipv6)) !== '0';
}

/** `othersForward`: something else here, as Docker's bridge, relies on it by now. */
export async function putBackForwarding(
  plan: NetworkPlan,
  settings: HostSettings,
  othersForward: () => Promise<boolean>,
): Promise<void> {
  const needs = neededForwarding(plan);
  if (needs.ipv4 && needs.ipv6) return;
  const remembered = Object.keys(await settings.remembered());
  if (remembered.length === 0 || (await othersForward())) return;
  if (!needs.ipv4) await settings.putBack((name) => name === ipv4);
  if (needs.ipv6) return;
  // Forwarding goes off first: for the other way round, a moment without a default route would be enough to lose it.
  await settings.putBack((name) => name === ipv6);
  await settings.putBack((name) => name.startsWith('net/ipv6/') && name.endsWith('/accept_ra'));
}

export function neededForwarding({ networks }: NetworkPlan): { ipv4: boolean; ipv6: boolean } {
  const forwarding = networks.filter(({ kind }) => kind === 'nat' || kind === 'routed');
  return {
    ipv4: forwarding.some((network) => network.ipv4 !== undefined),
    ipv6: forwarding.some((network) => network.ipv6 !== undefined),
  };
}

/** A setting of every interface. */
async function current(
  settings: HostSettings,
  folder: string,
  setting: string,
): Promise<Record<string, string>> {
  const interfaces = await readdir(`/proc/sys/${folder}`).catch(() => []);
  const values = await Promise.all(
    interfaces.map(async (name) => {
      const key = `${folder}/${name}/${setting}`;
      return [key, await settings.read(key)] as const;
    }),
  );
  return Object.fromEntries(values.flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])));
}
