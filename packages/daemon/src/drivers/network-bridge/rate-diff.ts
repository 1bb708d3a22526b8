/**
 * The lines for `tc -batch` that lead from the queueing disciplines that are there to those that are wanted. Pure. A rate is changed in place: nothing
 * that waits is lost.
 */
import type { LinkChange } from './link-diff.ts';
import { type Bucket, longestPacketBytes, type TapRates } from './rates.ts';
import { isToldOf, type Qdisc, type TcState } from './tc-state.ts';

export interface RateChanges {
  /** Before links are taken away: what is redirected to an interface that is gone is lost. */
  readonly before: readonly LinkChange[];
  /** After they were made. */
  readonly after: readonly LinkChange[];
}

/** `matchall` is what it says; older or smaller kernels have `u32` alone. */
export type Classifier = 'matchall' | 'u32';

const none: Qdisc = { dropped: 0 };

/** `made`: interfaces that are new, whatever `actual` says of their names. */
export function rateChanges(
  wanted: ReadonlyMap<string, TapRates>,
  actual: TcState,
  classifier: Classifier,
  made: ReadonlySet<string> = new Set(),
): RateChanges {
  const before: LinkChange[] = [];
  const after: LinkChange[] = [];
  const qdiscOf = (name: string): Qdisc => (made.has(name) ? none : (actual.qdiscs.get(name) ?? none));
  for (const rates of wanted.values()) {
    const { tap, network, instance, ingress, egress } = rates;
    const tell = (line: string, wrong: string): LinkChange => ({
      ...{ line, wrong, network, instance },
      program: 'tc',
    });
    const now = qdiscOf(tap);
    if (ingress !== undefined && !holds(now, ingress))
      for (const line of bucketLines(tap, now, ingress))
        after.push(tell(line, `${rates.what} had lost its rate`));
    if (ingress === undefined && now.kind === 'tbf')
      before.push(
        tell(
          rates.isMultiQueue ? `qdisc replace dev ${tap} root noqueue` : `qdisc del dev ${tap} root`,
          `${rates.what} had a rate that nobody set`,
        ),
      );
    if (egress === undefined) {
      if (now.incoming === 'ingress')
        before.push(tell(`qdisc del dev ${tap} ingress`, `${rates.what} had a filter that nobody set`));
      continue;
    }
    const { through } = egress;
    const wrong = `${rates.what} had lost the rate of what it sends`;
    const throttle = qdiscOf(through);
    if (!holds(throttle, egress))
      for (const line of bucketLines(through, throttle, egress)) after.push(tell(line, wrong));
    if (actual.redirected.has(through) && now.incoming !== undefined && !made.has(through)) continue;
    // A `matchall` that is there cannot be changed; all that is ours goes, whatever is left of it.
    if (now.incoming === 'ingress') after.push(tell(`qdisc del dev ${tap} ingress`, wrong));
    if (now.incoming !== 'clsact') after.push(tell(`qdisc add dev ${tap} ingress`, wrong));
    after.push(tell(redirectLine(tap, through, classifier), wrong));
  }
  return { before, after };
}

/** What the kernel has once it is as wanted. */
export function wantedState(wanted: ReadonlyMap<string, TapRates>): TcState {
  const qdiscs = new Map<string, Qdisc>();
  const redirected = new Set<string>();
  const bucket = ({ bytesPerSecond, burstBytes }: Bucket): Qdisc => ({
    kind: 'tbf',
    bytesPerSecond,
    burstBytes,
    dropped: 0,
  });
  for (const { tap, ingress, egress } of wanted.values()) {
    const incoming = egress === undefined ? {} : { incoming: 'ingress' };
    qdiscs.set(tap, { ...(ingress === undefined ? none : bucket(ingress)), ...incoming });
    if (egress === undefined) continue;
    qdiscs.set(egress.through, bucket(egress));
    redirected.add(egress.through);
  }
  return { qdiscs, redirected };
}

function holds({ kind, bytesPerSecond, burstBytes = 0 }: Qdisc, bucket: Bucket): boolean {
  return (
    kind === 'tbf' &&
    bytesPerSecond === bucket.bytesPerSecond &&
    (burstBytes === bucket.burstBytes || isToldOf(bytesPerSecond, bucket.burstBytes, burstBytes))
  );
}

/**
 * `bps` is bytes a second there (tc(8)). What waits already and has no room in a smaller bucket would wait for ever, and all behind it (sch_tbf: only what
 * comes later is cut): then the bucket is made anew.
 */
function bucketLines(name: string, now: Qdisc, { bytesPerSecond, burstBytes, queueBytes }: Bucket): string[] {
  const line = `qdisc replace dev ${name} root tbf rate ${bytesPerSecond}bps burst ${burstBytes}b limit ${queueBytes}b`;
  const mayBlock =
    now.kind === 'tbf' && burstBytes < longestPacketBytes && burstBytes < (now.burstBytes ?? 0);
  return mayBlock ? [`qdisc replace dev ${name} root noqueue`, line] : [line];
}

function redirectLine(tap: string, through: string, classifier: Classifier): string {
  const match = { matchall: 'handle 1 matchall', u32: 'handle 800::1 u32 match u32 0 0' }[classifier];
  return `filter replace dev ${tap} ingress protocol all prio 1 ${match} action mirred egress redirect dev ${through}`;
}

/** The same, by another classifier; a line that has none as it is. */
export function withClassifier(change: LinkChange, classifier: Classifier): LinkChange {
  const [, tap, through] = /^filter replace dev (\S+) .* dev (\S+)$/.exec(change.line) ?? [];
  return tap === undefined || through === undefined
    ? change
    : { ...change, line: redirectLine(tap, through, classifier) };
}
