/**
 * Hears of what changes on the host, from `ip monitor` and `nft monitor`, and tells when it may be somebody else's doing: what the kernel
 * says last of a link is held against what should be, so that our own changes raise nothing.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Logger } from '@wirt/core';
import { createLineReader } from '../../platform/line-reader.ts';
import type { LinkState } from './link-state.ts';

export interface WatchOptions {
  readonly tag: string;
  readonly logger: Logger;
  /** What should be, by name. */
  expected(): ReadonlyMap<string, LinkState>;
  /** Whether we are at work, and since when we are not. */
  ownWork(): { readonly running: boolean; readonly endedMs: number };
  /** Something is not as it should be, or may be. */
  onSuspicion(): void;
}

/** What belongs together comes within this. */
const settleMs = 50;
/** The kernel's word of our own transaction comes within this. */
const echoMs = 500;
/** A change of the packet filter beside one of our own is looked for after this. */
const besideOwnMs = 2_500;
const restartMs = 1_000;

export function createWatch(options: WatchOptions): { close(): void } {
  const { logger } = options;
  const lastWords = new Map<string, string>();
  const timers = new Set<NodeJS.Timeout>();
  const children = new Set<ChildProcess>();
  let judging = false;
  let looking = false;
  let closed = false;

  const later = (ms: number, work: () => void): void => {
    const timer = setTimeout(() => {
      timers.delete(timer);
      work();
    }, ms);
    timer.unref();
    timers.add(timer);
  };

  function judge(): void {
    if (options.ownWork().running) return later(settleMs, judge);
    judging = false;
    const words = [...lastWords.values()];
    lastWords.clear();
    const expected = options.expected();
    if (words.some((line) => contradicts(line, expected))) options.onSuspicion();
  }
  function onLink(line: string): void {
    const subject = subjectOf(line);
    if (subject === undefined) return;
    lastWords.set(subject, line);
    if (judging) return;
    judging = true;
    later(settleMs, judge);
  }

  const ours = new RegExp(`\\bwirt_${options.tag.replaceAll(/\W/g, '.')}\\b`);
  function onRules(line: string): void {
    if (looking || !ours.test(line)) return;
    const { running, endedMs } = options.ownWork();
    const own = running || performance.now() - endedMs < echoMs;
    // Of what comes beside our own changes only that is followed up which we seldom do: with many guests coming and going, looking each time
    // would be most of the work. What else it may have been is found by the regular look.
    if (own && !line.startsWith('delete table')) return;
    looking = true;
    later(own ? besideOwnMs : settleMs, () => {
      looking = false;
      options.onSuspicion();
    });
  }

  function listen(program: string, args: string[], onLine: (line: string) => void): void {
    if (closed) return;
    // It would only notice that nobody listens any more when it has something to say.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', program, ...args], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    children.add(child);
    const lines = createLineReader(onLine);
    child.stdout.on('data', (chunk: Buffer) => lines.push(chunk));
    let over = false;
    const again = (why: unknown): void => {
      if (over) return;
      over = true;
      children.delete(child);
      if (closed) return;
      logger.warn('network.monitor_ended', { program, why });
      later(restartMs, () => {
        listen(program, args, onLine);
        // What happened meanwhile was not heard of.
        options.onSuspicion();
      });
    };
    child.once('error', again);
    child.once('exit', (exitCode, signal) => again(signal ?? exitCode));
    child.unref();
    // A pipe that is listened to would keep the process alive; the types hide that it is a socket.
    (child.stdout as unknown as { unref(): void }).unref();
  }

  listen('ip', ['-o', 'monitor', 'link', 'address'], onLink);
  listen('nft', ['monitor'], onRules);
  return {
    close() {
      closed = true;
      for (const timer of timers) clearTimeout(timer);
      for (const child of children) child.kill('SIGKILL');
    },
  };
}

const shape = /^(Deleted )?\d+: ([^\s:@]+)(?:@[^\s:]+)?:? +(.*)$/;
const address = /^inet6? (\S+)/;

/** What a line is about: a link, or one address of it. */
export function subjectOf(line: string): string | undefined {
  const [, , name, rest = ''] = shape.exec(line) ?? [];
  return name === undefined ? undefined : `${name} ${address.exec(rest)?.[1] ?? ''}`;
}

/** Whether what the kernel says of a link is not what should be. Links that we do not know of concern us not. */
export function contradicts(line: string, expected: ReadonlyMap<string, LinkState>): boolean {
  const [, deleted, name = '', rest = ''] = shape.exec(line) ?? [];
  const wanted = expected.get(name);
  if (wanted === undefined) return false;
  const subject = address.exec(rest)?.[1];
  if (subject !== undefined) return deleted !== undefined && wanted.addresses.includes(subject);
  if (deleted !== undefined) return true;
  const flags = /^<([^>]*)>/.exec(rest)?.[1]?.split(',');
  // Not of the link itself, but of its place in a bridge, which comes with other words.
  if (flags === undefined) return false;
  const mtu = Number(/ mtu (\d+)/.exec(rest)?.[1] ?? wanted.mtu);
  const master = / master (\S+)/.exec(rest)?.[1];
  return !flags.includes('UP') || (wanted.mtu !== 0 && mtu !== wanted.mtu) || master !== wanted.master;
}
