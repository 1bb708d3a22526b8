/**
 * Hears of what changes on the host, from `ip monitor`, `nft monitor` and `tc monitor`, and tells when it may be somebody else's doing: what the kernel
 * says last of a link is held against what should be, so that our own changes raise nothing.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Logger } from '@wirt/core';
import { createLineReader } from '../../platform/line-reader.ts';
import type { LinkState } from './link-state.ts';
import type { HostNames } from './names.ts';

export interface WatchOptions {
  readonly names: Pick<HostNames, 'tag' | 'isOurs'>;
  readonly logger: Logger;
  /** What should be, by name. */
  expected(): ReadonlyMap<string, LinkState>;
  /** Whether we are at work, and since when we are not. */
  ownWork(): { readonly running: boolean; readonly endedMs: number };
  /** Something is not as it should be, or may be. */
  onSuspicion(): void;
  /** The packet filter of others has changed. */
  onOthers(): void;
}

/** What belongs together comes within this. */
const settleMs = 50;
/** The kernel's word of our own transaction comes within this. */
const echoMs = 500;
/** A change of the packet filter beside one of our own is looked for after this, once for all that come until then. */
const besideOwnMs = 2_000;
/** Who works without a pause is not waited for any longer. */
const mostPutOff = 20;
const restartMs = 1_000;
/** Others change much at a time, and some do so all the time. */
const othersMs = 3_000;

export interface Watch {
  /** Listens to what becomes of queueing disciplines, too. */
  watchRates(): void;
  close(): void;
}

export function createWatch(options: WatchOptions): Watch {
  const { logger } = options;
  const lastWords = new Map<string, string>();
  const timers = new Set<NodeJS.Timeout>();
  const children = new Set<ChildProcess>();
  let judging = false;
  let looking = false;
  let gathering = false;
  let watchesRates = false;
  let closed = false;

  const later = (ms: number, work: () => void): void => {
    const timer = setTimeout(() => {
      timers.delete(timer);
      work();
    }, ms);
    timer.unref();
    timers.add(timer);
  };

  function judge(putOff = 0): void {
    const { running } = options.ownWork();
    if (running && putOff < mostPutOff) return later(settleMs, () => judge(putOff + 1));
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
    later(settleMs, () => judge());
  }

  const ours = new RegExp(`\\bwirt_${options.names.tag.replaceAll(/\W/g, '.')}\\b`);
  function onRules(line: string): void {
    if (!ours.test(line)) return onOthersRules(line);
    lookSoon();
  }
  function onRates(line: string): void {
    const name = interfaceOf(line);
    // Of what is no more, a number is told.
    if (name !== undefined && (/^if\d+$/.test(name) || options.names.isOurs({ name }))) lookSoon();
  }
  function lookSoon(): void {
    if (looking) return;
    const { running, endedMs } = options.ownWork();
    // It may be the word of our own transaction: whoever else changed something beside it is found all the same.
    const own = running || performance.now() - endedMs < echoMs;
    looking = true;
    later(own ? besideOwnMs : settleMs, () => {
      looking = false;
      options.onSuspicion();
    });
  }

  function onOthersRules(line: string): void {
    if (gathering || !/^(add|insert|replace|delete) (table|chain|rule) /.test(line)) return;
    gathering = true;
    later(othersMs, () => {
      gathering = false;
      options.onOthers();
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

  listen('ip', ['-o', '-d', 'monitor', 'link', 'address'], onLink);
  listen('nft', ['monitor'], onRules);
  return {
    watchRates() {
      if (watchesRates) return;
      watchesRates = true;
      listen('tc', ['monitor'], onRates);
      // What happens until it listens is not heard of.
      later(restartMs, options.onSuspicion);
    },
    close() {
      closed = true;
      for (const timer of timers) clearTimeout(timer);
      for (const child of children) child.kill('SIGKILL');
    },
  };
}

/** Whose queueing discipline or filter a line of `tc monitor` is about. */
export function interfaceOf(line: string): string | undefined {
  return /^(?:deleted |added |replaced )?(?:qdisc|filter|class|chain) .*?\bdev (\S+)/.exec(line)?.[1];
}

const shape = /^(Deleted )?\d+: ([^\s:@]+)(?:@[^\s:]+)?:? +(.*)$/;
const address = /^inet6? (\S+)/;

/** What a line is about: a link, or one address of it. */
export function subjectOf(line: string): string | undefined {
  const [, , name, rest = ''] = shape.exec(line) ?? [];
  if (name === undefined) return undefined;
  const part = rest.startsWith('<') && !isWhole(rest) ? 'port' : (address.exec(rest)?.[1] ?? '');
  return `${name} ${part}`;
}

/** Of a link as a port of its bridge, the kernel says only some of what there is. */
const isWhole = (rest: string): boolean => / group \S/.test(rest);

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
  if (!flags.includes('UP') || (wanted.mtu !== 0 && mtu !== wanted.mtu) || master !== wanted.master)
    return true;
  if (!isWhole(rest)) return false;
  const alias = /\\ +alias (\S+)/.exec(rest)?.[1];
  const mac = /link\/ether (\S+)/.exec(rest)?.[1];
  return (
    (wanted.alias !== undefined && alias !== wanted.alias) ||
    (wanted.mac !== '' && mac !== wanted.mac) ||
    (wanted.filtered === true && !/ nf_call_iptables 1 nf_call_ip6tables 1 /.test(`${rest} `))
  );
}
