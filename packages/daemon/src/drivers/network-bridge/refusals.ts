/** Why this host can have no networks, or not this one: found out by trying, where the kernel does not say. */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { PlannedNetwork } from '@wirt/core';
import { runProgram, SubprocessError } from '../../platform/subprocess.ts';
import { readLinks } from './ip.ts';
import type { LinkState } from './link-state.ts';
import type { HostNames } from './names.ts';

export interface Refusal {
  readonly why: string;
  readonly hint: string;
}

const timeoutMs = 10_000;
const packages = { ip: 'iproute2', nft: 'nftables', dnsmasq: 'dnsmasq-base' };
/** Bit of CAP_NET_ADMIN (linux/capability.h). */
const netAdmin = 12n;

export async function whyUnusable(): Promise<Refusal | undefined> {
  const status = await readFile('/proc/self/status', 'utf8');
  const capabilities = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  if (((capabilities >> netAdmin) & 1n) === 0n)
    return { why: 'wirtd may not change the host’s network.', hint: 'Run wirtd as root.' };
  const missing = (
    await Promise.all(
      Object.keys(packages).map(async (program) => ((await isThere(program)) ? [] : [program])),
    )
  ).flat() as (keyof typeof packages)[];
  if (missing.length > 0)
    return {
      why: `${missing.join(', ')} ${missing.length === 1 ? 'is' : 'are'} not installed.`,
      hint: `apt-get install ${missing.map((program) => packages[program]).join(' ')}`,
    };
  const bridge = await tryLink(['type', 'bridge', 'nf_call_iptables', '1']);
  if (bridge !== undefined) return { why: `The kernel makes no bridge: ${bridge}`, hint: 'modprobe bridge' };
  if (!(await hasBridgeFilter()))
    return {
      why: 'The kernel has no br_netfilter, by which traffic between guests is filtered.',
      hint: 'modprobe br_netfilter',
    };
  return undefined;
}

const version = { ip: '-V', nft: '--version', dnsmasq: '--version' };

async function isThere(program: string): Promise<boolean> {
  try {
    await runProgram(program, [version[program as keyof typeof version]], { timeoutMs });
    return true;
  } catch (error) {
    if (error instanceof SubprocessError && error.failure === 'not-started') return false;
    throw error;
  }
}

async function hasBridgeFilter(): Promise<boolean> {
  const file = '/proc/sys/net/bridge/bridge-nf-call-iptables';
  const there = (): Promise<boolean> =>
    readFile(file).then(
      () => true,
      () => false,
    );
  if (await there()) return true;
  await runProgram('modprobe', ['br_netfilter'], { timeoutMs }).catch(() => undefined);
  return await there();
}

/** Makes a link and takes it away. Returns what `ip` says where it cannot be made. */
async function tryLink(words: readonly string[], link?: string): Promise<string | undefined> {
  const name = `wq${randomBytes(5).toString('hex')}`;
  const on = link === undefined ? [] : ['link', link];
  const { exitCode, stderr } = await runProgram('ip', ['link', 'add', ...on, 'name', name, ...words], {
    timeoutMs,
  });
  if (exitCode === 0) await runProgram('ip', ['link', 'del', 'dev', name], { timeoutMs });
  return exitCode === 0 ? undefined : (stderr.trim().split('\n')[0] ?? 'ip does not say why.');
}

export async function whyRefused(network: PlannedNetwork, names: HostNames): Promise<Refusal | undefined> {
  if (network.ipv6 !== undefined && network.kind !== 'bridged') {
    const off = await readFile('/proc/sys/net/ipv6/conf/all/disable_ipv6', 'utf8').catch(() => undefined);
    if (off === undefined)
      return { why: 'The kernel has no IPv6.', hint: 'Make the network without an IPv6 subnet.' };
    if (off.trim() === '1')
      return {
        why: 'IPv6 is switched off on this host.',
        hint: 'sysctl -w net.ipv6.conf.all.disable_ipv6=0, or make the network without an IPv6 subnet.',
      };
  }
  if (network.kind !== 'bridged') return undefined;
  if (network.uplink === undefined)
    return { why: 'A bridged network needs an uplink.', hint: 'Name an interface of the host: ip -br link' };
  const links = await readLinks(AbortSignal.timeout(timeoutMs));
  return await refusedUplink(network.id, network.uplink, links, names);
}

async function refusedUplink(
  id: string,
  uplink: NonNullable<PlannedNetwork['uplink']>,
  links: ReadonlyMap<string, LinkState>,
  names: HostNames,
): Promise<Refusal | undefined> {
  const { interface: name, vlan } = uplink;
  const link = links.get(name);
  if (link === undefined)
    return { why: `The host has no interface ${name}.`, hint: 'See which there are: ip -br link' };
  if (names.isOurs(link))
    return {
      why: `${name} belongs to another network of Wirt.`,
      hint: 'Name an interface of the host: ip -br link',
    };
  if (vlan !== undefined) {
    if (links.get(names.ofUplink('vlan', id))?.vlan?.id === vlan) return undefined;
    const said = await tryLink(['type', 'vlan', 'id', String(vlan)], name);
    if (said === undefined) return undefined;
    return /unknown device type/i.test(said)
      ? { why: 'The kernel has no VLANs (8021q).', hint: 'modprobe 8021q' }
      : { why: `${name} takes no VLAN ${vlan}: ${said}`, hint: `See who has it: ip -d link show type vlan` };
  }
  if (link.kind === 'bridge') return undefined;
  if (link.master !== undefined && link.master !== names.bridge(id))
    return {
      why: `${name} is a port of ${link.master} already.`,
      hint: `Name ${link.master} as the uplink.`,
    };
  const own = link.addresses.filter((address) => !/^fe[89ab]/i.test(address));
  if (own.length > 0)
    return {
      why: `${name} has addresses of the host (${own.join(', ')}), which would lose its connection by it.`,
      hint: `Move them to a bridge of the host, and name that as the uplink.`,
    };
  return undefined;
}
