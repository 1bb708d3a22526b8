// Whether disks are in use in ways that leave no trace in sysfs: members of a ZFS pool, arrays that are being put together, disks that a
// program or another's guest has open as they are. Asked by a program of its own, since a disk that hangs keeps whoever opens it; one
// at a time, since two would see each other. What is not known to be free is not free.
import { fileURLToPath } from 'node:url';
import { Abandoned, runOrAbandon } from '../../platform/abandon.ts';
import type { BlockFacts } from './uses.ts';

export type Probed = Pick<BlockFacts, 'name' | 'dev' | 'isPartition'>;
/** Reasons by the name of the disk or partition, each to complete a sentence that begins with the name. */
export type Reasons = ReadonlyMap<string, string>;
export type ReadClaims = (blocks: readonly Probed[], signal: AbortSignal) => Promise<Reasons>;

const deadlineMs = 5_000;
/** A thread for each disk, as far as Node goes: one that hangs costs no other. */
const threads = '128';
const probe = fileURLToPath(new URL('./disk-probe.ts', import.meta.url));

const silent = 'does not answer to being opened';
const unread = (why: string): string => `could not be looked at: ${why}`;

/** The probe has its own deadline: whoever asks and goes away takes nothing from others, and what hangs is remembered all the same. */
const noAbort = new AbortController().signal;

interface Look {
  readonly names: ReadonlySet<string>;
  readonly reasons: Promise<Reasons>;
}

export function createDiskClaims({ program = probe, waitMs = deadlineMs } = {}): ReadClaims {
  /** Disks that a probe still hangs with. */
  const hung = new Set<string>();
  let running: Look | undefined;

  async function look(asked: readonly Probed[]): Promise<Reasons> {
    const words = asked.map(({ name, dev, isPartition }) => `${isPartition ? '-' : ''}${name}:${dev}`);
    const options = { env: { UV_THREADPOOL_SIZE: threads }, deadlineMs: waitMs, signal: noAbort };
    try {
      const { stdout, exitCode } = await runOrAbandon(process.execPath, [program, ...words], options);
      const failed = `the probe ended with ${exitCode === null ? 'a signal' : `exit status ${exitCode}`}`;
      return judge(asked, read(stdout), exitCode === 0 ? undefined : failed);
    } catch (error) {
      if (!(error instanceof Abandoned)) return judge(asked, read(''), String(error));
      const answers = read(error.stdout);
      const left = asked.filter(({ name, isPartition }) => !isPartition && !answers.claims.has(name));
      for (const { name } of left) hung.add(name);
      void error.ended.then(() => {
        for (const { name } of left) hung.delete(name);
      });
      const late = answers.isComplete ? undefined : 'what programs have open could not be read in time';
      return new Map([...judge(asked, answers, late), ...left.map(({ name }) => [name, silent] as const)]);
    }
  }

  function begin(asked: readonly Probed[]): Look {
    const reasons = look(asked).finally(() => {
      running = undefined;
    });
    return { names: new Set(asked.map(({ name }) => name)), reasons };
  }

  return async (blocks, signal) => {
    for (;;) {
      signal.throwIfAborted();
      const asked = blocks.filter(({ name, dev }) => dev !== undefined && !hung.has(name));
      const known = blocks.flatMap(({ name }) => (hung.has(name) ? [[name, silent] as const] : []));
      if (asked.length === 0) return new Map(known);
      running ??= begin(asked);
      const { names, reasons } = running;
      const found = await unlessAborted(reasons, signal);
      // Another's question, in which this one's disks were not.
      if (!asked.every(({ name }) => names.has(name))) continue;
      const own = asked.flatMap(({ name }) => {
        const reason = found.get(name);
        return reason === undefined ? [] : [[name, reason] as const];
      });
      return new Map([...known, ...own]);
    }
  };
}

interface Answers {
  /** Of whole disks: whether it is claimed, or why that could not be seen. */
  readonly claims: ReadonlyMap<string, boolean | { readonly error: string }>;
  readonly openIn: Reasons;
  /** All programs were looked at. */
  readonly isComplete: boolean;
}

/** `failed`: why the answers are not all that there is to say. */
function judge(asked: readonly Probed[], answers: Answers, failed: string | undefined): Reasons {
  const { claims, openIn, isComplete } = answers;
  const missing = failed ?? (isComplete ? undefined : 'the probe did not come to its end');
  const reasonOf = ({ name, isPartition }: Probed): string | undefined => {
    const open = openIn.get(name);
    if (open !== undefined || isPartition) return open;
    const claim = claims.get(name);
    if (claim === true)
      return 'is claimed by the kernel or a program, as members of ZFS pools and arrays are';
    if (typeof claim === 'object') return unread(claim.error);
    if (missing !== undefined) return unread(missing);
    return claim === undefined ? unread('the probe did not tell of it') : undefined;
  };
  return new Map(
    asked.flatMap((block) => {
      const reason = reasonOf(block);
      return reason === undefined ? [] : [[block.name, reason] as const];
    }),
  );
}

interface Said {
  readonly name?: string;
  readonly claimed?: boolean;
  readonly error?: string;
  readonly openIn?: string;
  readonly pid?: number;
  readonly looked?: boolean;
}

/** As disk-probe.ts says it; a line that was cut short is none. */
function read(stdout: string): Answers {
  const claims = new Map<string, boolean | { readonly error: string }>();
  const openIn = new Map<string, string>();
  let isComplete = false;
  for (const line of stdout.split('\n').slice(0, -1)) {
    const { name = '', claimed, error, openIn: program, pid, looked } = JSON.parse(line) as Said;
    if (program !== undefined) openIn.set(name, `is open in ${program} (process ${pid})`);
    if (error !== undefined) claims.set(name, { error });
    else if (claimed !== undefined) claims.set(name, claimed);
    if (looked === true) isComplete = true;
  }
  return { claims, openIn, isComplete };
}

async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
