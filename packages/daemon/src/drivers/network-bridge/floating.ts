/**
 * Addresses of the host's network that stand for a card: put on the interface by which they are reached, and written down before, since there an
 * address looks like any other. One that the host has of its own is left alone.
 */
import { mkdir, readFile, rm } from 'node:fs/promises';
import { isIP, isIPv6 } from 'node:net';
import { dirname } from 'node:path';
import { WirtError } from '@wirt/api';
import type { NetworkPlan } from '@wirt/core';
import { writeFileAtomically } from '../../platform/atomic-file.ts';
import { changeLinks, readIp } from './ip.ts';
import type { LinkChange } from './link-diff.ts';
import type { LinkState } from './link-state.ts';

export interface FloatingAddresses {
  apply(plan: NetworkPlan, signal: AbortSignal): Promise<WirtError[]>;
  /** Forgets those that the kernel has no more; returns them. */
  missing(host: ReadonlyMap<string, LinkState>): Promise<string[]>;
}

export function createFloatingAddresses(file: string): FloatingAddresses {
  /** By address, the interface. */
  let known: Map<string, string> | undefined;
  let complete = '';

  const load = async (): Promise<Map<string, string>> => {
    known ??= parse(await readFile(file, 'utf8').catch(() => '{}'));
    return known;
  };
  async function save(next: Map<string, string>): Promise<void> {
    known = next;
    if (next.size === 0) return await rm(file, { force: true });
    await mkdir(dirname(file), { recursive: true, mode: 0o711 });
    await writeFileAtomically(file, JSON.stringify(Object.fromEntries(next)), { mode: 0o600 });
  }

  return {
    async apply(plan, signal) {
      const wanted = new Set(
        plan.ports.flatMap(({ floating }) => (floating === undefined ? [] : [floating])),
      );
      const key = [...wanted].toSorted().join(' ');
      if (known !== undefined && key === complete) return [];
      const before = await load();
      const gone = [...before].filter(([address]) => !wanted.has(address));
      const added: [string, string][] = [];
      const errors: WirtError[] = [];
      for (const address of wanted) {
        if (before.has(address)) continue;
        const where = await wayTo(address, signal).catch((error: unknown) => {
          errors.push(failed(address, plan, error));
          return undefined;
        });
        if (where !== undefined) added.push([address, where]);
      }
      const kept = [...before].filter(([address]) => wanted.has(address));
      if (added.length > 0) await save(new Map([...before, ...added]));
      const lines = [
        ...gone.map(([address, name]) => line('del', address, name)),
        ...kept.concat(added).map(([address, name]) => line('replace', address, name)),
      ];
      // What is gone already needs no taking away.
      for (const { change, said } of await changeLinks(lines))
        if (!change.line.startsWith('addr del')) errors.push(failed(change.wrong, plan, new Error(said)));
      if (gone.length > 0) await save(new Map([...kept, ...added]));
      complete = errors.length === 0 ? key : '?';
      return errors;
    },
    async missing(host) {
      const before = await load();
      const lost = [...before].filter(
        ([address, name]) => !host.get(name)?.addresses.includes(`${address}/${isIPv6(address) ? 128 : 32}`),
      );
      if (lost.length > 0) complete = '?';
      return lost.map(([address]) => address);
    },
  };
}

function line(verb: 'del' | 'replace', address: string, name: string): LinkChange {
  const v6 = isIPv6(address);
  return {
    line: `addr ${verb} ${address}/${v6 ? 128 : 32} dev ${name}${v6 && verb === 'replace' ? ' nodad' : ''}`,
    wrong: address,
  };
}

/** The interface by which the address is reached; undefined where it is the host's own. */
async function wayTo(address: string, signal: AbortSignal): Promise<string | undefined> {
  if (isIP(address) === 0) throw new Error(`'${address}' is no address.`);
  const route: unknown = JSON.parse(await readIp(['-j', 'route', 'get', address], signal));
  const [{ type, dev } = {}] = route as { type?: string; dev?: string }[];
  if (type === 'local') return undefined;
  if (dev === undefined) throw new Error(`The host has no way to ${address}.`);
  return dev;
}

function failed(address: string, plan: NetworkPlan, cause: unknown): WirtError {
  const ports = plan.ports.filter(({ floating }) => floating === address);
  return new WirtError('network.failed', `The host cannot stand in for the floating address ${address}.`, {
    cause,
    hint: `See how the host reaches it: ip route get ${address}`,
    details: {
      networks: ports.map(({ network }) => network),
      instances: ports.map(({ instance }) => instance),
    },
  });
}

function parse(text: string): Map<string, string> {
  try {
    const entries = Object.entries(JSON.parse(text) as Record<string, unknown>);
    return new Map(
      entries.flatMap(([address, name]) =>
        isIP(address) !== 0 && typeof name === 'string' && /^[\w.:@-]{1,15}$/.test(name)
          ? [[address, name]]
          : [],
      ),
    );
  } catch {
    return new Map();
  }
}
