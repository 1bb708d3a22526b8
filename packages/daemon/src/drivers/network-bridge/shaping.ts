/**
 * Keeps the rates of ports in the kernel by `tc`: knows what it made, reads what is there where that is not known for sure, and changes only
 * what differs. One change at a time.
 */
import type { PlannedPort } from '@wirt/core';
import { runProgram, SubprocessError } from '../../platform/subprocess.ts';
import { createDropCounts, type DropCounts } from './drop-counts.ts';
import { changeLinks, type FailedChange } from './ip.ts';
import type { LinkChange } from './link-diff.ts';
import type { HostNames } from './names.ts';
import { type Classifier, rateChanges, wantedState, withClassifier } from './rate-diff.ts';
import { ratesOf, type TapRates } from './rates.ts';
import { parseQdiscs, parseRedirects, type TcState } from './tc-state.ts';

export interface Shaping {
  /** `links`: names of those that will be there. What follows is for these ports. */
  begin(
    ports: readonly PlannedPort[],
    links: { has(name: string): boolean },
    signal: AbortSignal,
  ): Promise<ShapingChange>;
  /** What the kernel has. */
  read(signal: AbortSignal): Promise<TcState>;
  /** What is not as it was made, as changes that would mend it; nothing where no port has a rate. */
  differing(signal: AbortSignal): Promise<LinkChange[]>;
  /** What is there is read anew before the next change. */
  forget(): void;
  /** Packets dropped by rates, by interface, as they were last read. */
  readonly drops: DropCounts;
}

export interface ShapingChange {
  /** Taps that send at a rate. */
  readonly throttled: ReadonlySet<string>;
  /** Before links are taken away. Both return what could not be done. */
  loosen(made: ReadonlySet<string>): Promise<FailedChange[]>;
  /** After they were made. */
  tighten(made: ReadonlySet<string>): Promise<FailedChange[]>;
}

const timeoutMs = 60_000;
const maxStdoutBytes = 256 * 1024 * 1024;
/** What the kernel says of a classifier that it does not have. */
const isUnknown = /classifier not found|No such file or directory/;
const nothing: TcState = { qdiscs: new Map(), redirected: new Set() };

export function createShaping(names: HostNames): Shaping {
  const drops = createDropCounts();
  let wanted: ReadonlyMap<string, TapRates> = new Map();
  let known: TcState | undefined;
  let classifier: Classifier = 'matchall';

  async function read(signal: AbortSignal): Promise<TcState> {
    const qdiscs = parseQdiscs(await tc(['-s', '-j', 'qdisc', 'show'], signal));
    drops.take(qdiscs);
    const filtered = [...wanted.keys()].filter((tap) => qdiscs.get(tap)?.incoming !== undefined);
    // The kernel lists filters of one interface at a time.
    const lines = filtered.map((tap) => `filter show dev ${tap} ingress\n`).join('');
    const filters = lines === '' ? '' : await tc(['-j', '-force', '-batch', '-'], signal, lines);
    return { qdiscs, redirected: parseRedirects(filters) };
  }

  async function change(changes: readonly LinkChange[]): Promise<FailedChange[]> {
    const failed = await changeLinks(
      changes.map((each) => withClassifier(each, classifier)),
      'tc',
    );
    const again = failed.filter(
      ({ change: { line }, said }) => / matchall /.test(line) && isUnknown.test(said),
    );
    if (again.length === 0) return failed;
    classifier = 'u32';
    const others = failed.filter((each) => !again.includes(each));
    return [...others, ...(await change(again.map((each) => each.change)))];
  }

  const hasRates = (): boolean =>
    wanted.values().some(({ ingress, egress }) => ingress !== undefined || egress !== undefined);

  return {
    drops,
    read: (signal) => readOrNothing(read, signal),
    async begin(ports, links, signal) {
      // Of a port that stays, also what it dropped by a rate that it has no more.
      drops.keep(new Set(ports.flatMap((port) => [names.port(port), names.shaper(port)])));
      wanted = ratesOf({ ports: ports.filter((port) => links.has(names.port(port))) }, names);
      const now = known ?? (wanted.size === 0 ? nothing : await readOrNothing(read, signal));
      // Until it is done, nothing is known for sure.
      known = undefined;
      let failures = 0;
      const make = async (which: 'before' | 'after', made: ReadonlySet<string>): Promise<FailedChange[]> => {
        const failed = await change(rateChanges(wanted, now, classifier, made)[which]);
        failures += failed.length;
        return failed;
      };
      const taps = [...wanted.values()].flatMap(({ tap, ingress }) => (ingress === undefined ? [] : [tap]));
      return {
        throttled: new Set(taps),
        loosen: (made) => make('before', made),
        async tighten(made) {
          const failed = await make('after', made);
          if (failures === 0) known = wantedState(wanted);
          return failed;
        },
      };
    },
    async differing(signal) {
      if (!hasRates()) return [];
      const { before, after } = rateChanges(wanted, await read(signal), classifier);
      return [...before, ...after];
    },
    forget() {
      known = undefined;
    },
  };
}

/** Where there is no `tc`, there are no rates; who wants one is told when it is set. */
async function readOrNothing(
  read: (signal: AbortSignal) => Promise<TcState>,
  signal: AbortSignal,
): Promise<TcState> {
  try {
    return await read(signal);
  } catch (error) {
    if (error instanceof SubprocessError && error.isMissing) return nothing;
    throw error;
  }
}

/** What it says of interfaces that went away meanwhile is no failure. */
async function tc(args: readonly string[], signal: AbortSignal, stdin?: string): Promise<string> {
  const input = stdin === undefined ? {} : { stdin };
  const { stdout } = await runProgram('tc', args, { timeoutMs, signal, maxStdoutBytes, ...input });
  return stdout;
}
