/**
 * Addresses of the host's network that stand for a card: put on the interface by which they are reached, and written down before, since there an
 * address looks like any other. What is somebody else's, the host's own above all, is refused.
 */
import { mkdir, readFile, rm } from 'node:fs/promises';
import { isIP, isIPv6 } from 'node:net';
import { dirname } from 'node:path';
import { WirtError } from '@wirt/api';
import type { NetworkPlan } from '@wirt/core';
import { writeFileAtomically } from '../../platform/atomic-file.ts';
import { readFloatingGround, whyNotFloating } from './floating-refusals.ts';
import { changeLinks, readIp } from './ip.ts';
import type { LinkChange } from './link-diff.ts';
import type { LinkState } from './link-state.ts';
import type { HostNames } from './names.ts';
import type { Refusal } from './refusals.ts';
import { shortest } from './subnet.ts';

export interface FloatingAddresses {
  /** Those of the plan that cannot be, and why; `apply` passes them over and says so. Asked before each `apply`. */
  check(plan: NetworkPlan, signal: AbortSignal): Promise<ReadonlyMap<string, Refusal>>;
  /** Whether an address could be one. */
  refuses(address: string, signal: AbortSignal): Promise<Refusal | undefined>;
  apply(plan: NetworkPlan, signal: AbortSignal): Promise<WirtError[]>;
  /** Forgets those that the kernel has no more; returns them. */
  missing(host: ReadonlyMap<string, LinkState>): Promise<string[]>;
}

export function createFloatingAddresses(file: string, names: HostNames): FloatingAddresses {
  /** By address, the interface. */
  let known: Map<string, string> | undefined;
  /** The addresses that are there, as one text; undefined when nothing is known. */
  let complete: string | undefined;
  let refused: ReadonlyMap<string, Refusal> = new Map();

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
    async refuses(address, signal) {
      const before = new Set([...(await load()).keys()].map(shortest));
      return whyNotFloating(address, await readFloatingGround(signal), names, before);
    },
    async check(plan, signal) {
      const before = await load();
      const added = [...floatingOf(plan)].filter((address) => !before.has(address));
      refused = new Map();
      if (added.length === 0) return refused;
      const ground = await readFloatingGround(signal);
      refused = new Map(
        added.flatMap((address) => {
          const refusal = whyNotFloating(address, ground, names, new Set());
          return refusal === undefined ? [] : [[address, refusal]];
        }),
      );
      return refused;
    },
    async apply(plan, signal) {
      const wanted = floatingOf(plan);
      const key = [...wanted].toSorted().join(' ');
      if (key === complete) return [];
      const before = await load();
      const gone = [...before].filter(([address]) => !wanted.has(address));
      const added: [string, string][] = [];
      const errors: WirtError[] = [];
      for (const address of wanted) {
        if (before.has(address)) continue;
        const refusal = refused.get(address);
        if (refusal !== undefined) {
          errors.push(failed(address, plan, new Error(`${refusal.why}.`), refusal.hint));
          continue;
        }
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
      complete = errors.length === 0 ? key : undefined;
      return errors;
    },
    async missing(host) {
      const before = await load();
      const lost = [...before].filter(
        ([address, name]) => !host.get(name)?.addresses.includes(`${address}/${isIPv6(address) ? 128 : 32}`),
      );
      if (lost.length > 0) complete = undefined;
      return lost.map(([address]) => address);
    },
  };
}

function floatingOf({ ports }: NetworkPlan): Set<string> {
  return new Set(ports.flatMap(({ floating }) => (floating === undefined ? [] : [floating])));
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

function failed(
  address: string,
  plan: NetworkPlan,
  cause: unknown,
  hint = `See how the host reaches it: ip route get ${address}`,
): WirtError {
  const ports = plan.ports.filter(({ floating }) => floating === address);
  return new WirtError('network.failed', `The host cannot stand in for the floating address ${address}.`, {
    cause,
    hint,
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
