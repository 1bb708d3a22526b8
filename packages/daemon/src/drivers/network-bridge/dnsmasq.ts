/**
 * dnsmasq of one network, kept running: killed, it is back at once; dying by itself, after ever longer waits. It outlives the daemon, so that guests have
 * names and leases meanwhile; the daemon that comes next puts its own in its place.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { WirtError } from '@wirt/api';
import type { Logger, PlannedNetwork, PlannedPort } from '@wirt/core';
import { createLineReader } from '../../platform/line-reader.ts';
import {
  configFile,
  type DnsmasqSetting,
  dhcpFile,
  dhcpText,
  dnsmasqConfig,
  hostsFile,
  hostsText,
} from './dnsmasq-config.ts';
import { parseLeases, staleLeases, withoutLeases } from './leases.ts';

export interface Dnsmasq {
  /** Resolves when it serves. Throws `network.failed` with its own words. Started already: started anew. */
  start(): Promise<void>;
  /** Tells it of the ports; waits for no answer. */
  update(ports: readonly PlannedPort[]): Promise<void>;
  isRunning(): boolean;
  /** Ends it, and takes its files away. */
  stop(): Promise<void>;
  /** It runs on, and is looked after no more. */
  release(): void;
}

export interface DnsmasqOptions {
  readonly network: PlannedNetwork;
  readonly setting: DnsmasqSetting;
  readonly logger: Logger;
  /** Called when it had ended by itself and serves again. */
  onRestarted(how: string): void;
}

const startTimeoutMs = 5_000;
const stopTimeoutMs = 2_000;
/** Running for less, it is taken for one that cannot run. */
const soundMs = 2_000;
const longestBackoffMs = 5_000;
const linesKept = 5;

export function createDnsmasq(options: DnsmasqOptions): Dnsmasq {
  const { network, setting, logger } = options;
  const { directory, leases } = setting.files;
  const path = (name: string): string => join(directory, name);
  let child: ChildProcess | undefined;
  let wanted = false;
  let retry: NodeJS.Timeout | undefined;
  let backoffMs = 0;
  let texts = { hosts: '', dhcp: '' };
  let ports: readonly PlannedPort[] = [];
  /** Who may have a lease for an address: ours of before, or of a guest that is gone. */
  const holders = new Map<string, string>();
  let working: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const next = working.then(work, work);
    working = next.catch(() => undefined);
    return next;
  };

  async function launch(): Promise<void> {
    clearTimeout(retry);
    const before = child;
    child = undefined;
    await end(before);
    await mkdir(directory, { recursive: true, mode: 0o711 });
    await mkdir(dirname(leases), { recursive: true, mode: 0o711 });
    await writeFile(path(configFile), dnsmasqConfig(network, setting));
    await writeHosts();
    await cleanLeases();
    const started = await serve(network, path(configFile));
    child = started;
    wanted = true;
    const startedMs = performance.now();
    started.once('exit', (exitCode, signal) => {
      if (child !== started) return;
      child = undefined;
      if (!wanted) return;
      const how = signal === null ? `it exited with ${exitCode}` : `it was ended by ${signal}`;
      logger.warn('network.dnsmasq_ended', { network: network.id, exitCode, signal });
      if (performance.now() - startedMs > soundMs) backoffMs = 0;
      again(how);
    });
  }

  /** At once the first time, then after twice as long each time. */
  function again(how: string): void {
    clearTimeout(retry);
    retry = setTimeout(() => {
      void inTurn(async () => {
        if (!wanted || child !== undefined) return;
        try {
          await launch();
          options.onRestarted(how);
        } catch (error) {
          logger.error('network.dnsmasq_failed', { network: network.id, error });
          again(how);
        }
      });
    }, backoffMs);
    retry.unref();
    backoffMs = Math.min(Math.max(2 * backoffMs, 100), longestBackoffMs);
  }

  async function writeHosts(): Promise<void> {
    await Promise.all([replace(path(hostsFile), texts.hosts), replace(path(dhcpFile), texts.dhcp)]);
  }

  const readLeases = async (): Promise<string> => await readFile(leases, 'utf8').catch(() => '');

  /** Before it starts: leases of whose addresses others have now are none. */
  async function cleanLeases(): Promise<void> {
    const text = await readLeases();
    const stale = staleLeases(parseLeases(text), ports);
    if (stale.size > 0) await replace(leases, withoutLeases(text, stale));
    holders.clear();
    for (const { address, mac } of parseLeases(text)) if (mac !== undefined) holders.set(address, mac);
    for (const { ipv4, mac } of ports) if (ipv4 !== undefined) holders.set(ipv4, mac);
  }

  /** Whether dnsmasq keeps an address for somebody else: then it would not give it to who has it now. */
  async function keepsForOthers(): Promise<boolean> {
    let suspected = false;
    for (const { ipv4, ipv6, mac } of ports)
      for (const address of [ipv4, ipv6]) {
        if (address === undefined) continue;
        suspected ||= (holders.get(address) ?? mac) !== mac;
        holders.set(address, mac);
      }
    return suspected && staleLeases(parseLeases(await readLeases()), ports).size > 0;
  }

  return {
    start: () => inTurn(launch),
    update: (next) =>
      inTurn(async () => {
        const before = texts;
        ports = next;
        texts = { hosts: hostsText(network, next), dhcp: dhcpText(next) };
        if (child === undefined || (texts.hosts === before.hosts && texts.dhcp === before.dhcp)) return;
        await writeHosts();
        if (!(await keepsForOthers())) return void child?.kill('SIGHUP');
        // A lease is only forgotten by a dnsmasq that never heard of it.
        void inTurn(launch).catch((error: unknown) => {
          logger.error('network.dnsmasq_failed', { network: network.id, error });
          again('it could not be started');
        });
      }),
    isRunning: () => child !== undefined,
    stop: () => {
      wanted = false;
      return inTurn(async () => {
        clearTimeout(retry);
        const last = child;
        child = undefined;
        await end(last);
        await rm(directory, { recursive: true, force: true });
        await rm(leases, { force: true });
      });
    },
    release() {
      wanted = false;
      clearTimeout(retry);
      child?.stderr?.destroy();
      child?.unref();
    },
  };
}

/** Starts one, and waits until it says that it has started. */
async function serve(network: PlannedNetwork, config: string): Promise<ChildProcess> {
  const child = spawn('dnsmasq', [`--conf-file=${config}`], {
    // Of its own session: Ctrl-C at the daemon's terminal is not meant for it.
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: process.env['PATH'] ?? '', LC_ALL: 'C.UTF-8' },
  });
  const last: string[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const lines = createLineReader((line) => {
    last.push(line);
    if (last.length > linesKept) last.shift();
    // Said when its sockets are bound and its handler of SIGHUP is in place.
    if (/: started, version /.test(line)) resolve();
  });
  child.stderr?.on('data', (chunk: Buffer) => lines.push(chunk));
  child.once('error', reject);
  child.once('exit', () => reject(new Error(last.at(-1)?.trim() ?? 'It ended without a word.')));
  const deadline = setTimeout(() => {
    reject(new Error(`It did not start within ${startTimeoutMs} ms.`));
  }, startTimeoutMs);
  try {
    await promise;
  } catch (cause) {
    child.kill('SIGKILL');
    throw new WirtError('network.failed', `dnsmasq does not serve network ${network.name}.`, {
      details: { networks: [network.id] },
      cause,
      hint: `See what it says: dnsmasq --test --conf-file=${config}`,
    });
  } finally {
    clearTimeout(deadline);
  }
  child.unref();
  return child;
}

async function end(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  child.once('exit', () => resolve());
  child.kill('SIGTERM');
  const deadline = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs);
  await promise;
  clearTimeout(deadline);
}

/** Whole or not at all for who reads it; that it survives a power cut is nobody's wish. */
async function replace(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text, { mode: 0o644 });
  await rename(`${path}.new`, path);
}
