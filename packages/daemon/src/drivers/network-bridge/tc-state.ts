/** What `tc -j` says of queueing disciplines and filters, read into what the driver compares. Pure; what is not understood is left out. */

export interface Qdisc {
  /** Of the root: `tbf`, `pfifo_fast`, `mq`. */
  readonly kind?: string;
  /** Of a `tbf`. The burst is as `tc` can tell it: see `toldBurst`. */
  readonly bytesPerSecond?: number;
  readonly burstBytes?: number;
  /** Whether what comes in can be filtered (`ingress`, `clsact`). */
  readonly incoming?: string;
  /** Packets, since it was made. */
  readonly dropped: number;
}

export interface TcState {
  /** By interface. */
  readonly qdiscs: ReadonlyMap<string, Qdisc>;
  /** Interfaces to which all that comes in somewhere is redirected. */
  readonly redirected: ReadonlySet<string>;
}

interface JsonQdisc {
  readonly kind?: string;
  readonly dev?: string;
  readonly root?: boolean;
  readonly drops?: number;
  readonly options?: { readonly rate?: number; readonly burst?: number };
}

export function parseQdiscs(text: string): Map<string, Qdisc> {
  const found = new Map<string, Qdisc>();
  for (const { kind = '', dev = '', root, drops = 0, options = {} } of documents<JsonQdisc>(text)) {
    const before = found.get(dev) ?? { dropped: 0 };
    if (root === true) {
      const { rate = 0, burst = 0 } = options;
      const bucket = kind === 'tbf' ? { bytesPerSecond: rate, burstBytes: burst } : {};
      found.set(dev, { ...before, kind, ...bucket, dropped: kind === 'tbf' ? drops : 0 });
    } else if (kind === 'ingress' || kind === 'clsact') found.set(dev, { ...before, incoming: kind });
  }
  return found;
}

interface JsonFilter {
  readonly kind?: string;
  readonly protocol?: string;
  readonly options?: {
    readonly match?: { readonly value?: string; readonly mask?: string };
    readonly actions?: readonly JsonAction[];
  };
  /** Where `matchall` has them. */
  readonly actions?: readonly JsonAction[];
}

interface JsonAction {
  readonly kind?: string;
  readonly mirred_action?: string;
  readonly direction?: string;
  readonly to_dev?: string;
}

/** Where to the filters redirect that take every packet. */
export function parseRedirects(text: string): Set<string> {
  const found = new Set<string>();
  for (const { kind, protocol, options = {}, actions = [] } of documents<JsonFilter>(text)) {
    const takesAll =
      kind === 'matchall' || (kind === 'u32' && Number(`0x${options.match?.mask ?? '1'}`) === 0);
    if (protocol !== 'all' || !takesAll) continue;
    for (const action of [...(options.actions ?? []), ...actions])
      if (action.kind === 'mirred' && action.mirred_action === 'redirect' && action.direction === 'egress')
        found.add(action.to_dev ?? '');
  }
  return found;
}

/** A batch writes an array for each of its commands that has something to say. */
function documents<T>(text: string): T[] {
  return text.split('\n').flatMap((line) => {
    if (!line.startsWith('[')) return [];
    try {
      const parsed: unknown = JSON.parse(line);
      // Each is an object of the shape that tc writes, of which every field is optional.
      return Array.isArray(parsed)
        ? (parsed.filter((each) => typeof each === 'object' && each !== null) as T[])
        : [];
    } catch {
      return [];
    }
  });
}

const tickNs = 64;
const tickValues = 2 ** 32;

/**
 * The burst that the kernel tells of a bucket: it keeps bytes, tells ticks (of 32 bits) of the time in which they pass, and `tc` makes
 * bytes of whole microseconds of it.
 */
export function toldBurst(bytesPerSecond: number, burstBytes: number): number {
  const ticks = Math.floor((burstBytes / bytesPerSecond) * (1e9 / tickNs)) % tickValues;
  return (Math.floor((ticks * tickNs) / 1000) * bytesPerSecond) / 1e6;
}

/** Whether a bucket of that rate that is told to have that burst can be this one. */
export function isToldOf(bytesPerSecond: number, burstBytes: number, told: number): boolean {
  const roundingSeconds = 2e-6;
  return Math.abs(toldBurst(bytesPerSecond, burstBytes) - told) <= bytesPerSecond * roundingSeconds + 2;
}
