// Whether disks are in use in ways that leave no trace in sysfs: members of a ZFS pool, arrays that are being put together, disks that a
// program or another's guest has open as they are. Asked by a program of its own, since a disk that hangs keeps whoever opens it.
import { fileURLToPath } from 'node:url';
import { Abandoned, runOrAbandon } from '../../platform/abandon.ts';
import type { BlockFacts } from './uses.ts';

export type Probed = Pick<BlockFacts, 'name' | 'dev' | 'isPartition'>;
/** Reasons by the name of the disk or partition, each to complete a sentence that begins with the name. */
export type ReadClaims = (
  blocks: readonly Probed[],
  signal: AbortSignal,
) => Promise<ReadonlyMap<string, string>>;

const deadlineMs = 5_000;
/** A thread for each disk, as far as Node goes: one that hangs costs no other. */
const threads = '128';
const probe = fileURLToPath(new URL('./disk-probe.ts', import.meta.url));

const silent = 'does not answer to being opened';

export function createDiskClaims({ program = probe, waitMs = deadlineMs } = {}): ReadClaims {
  /** Disks that a probe still hangs with. */
  const hung = new Set<string>();

  return async (blocks, signal) => {
    const asked = blocks.filter(({ name, dev }) => dev !== undefined && !hung.has(name));
    const found = new Map<string, string>(
      blocks.flatMap(({ name }) => (hung.has(name) ? [[name, silent]] : [])),
    );
    if (asked.length === 0) return found;
    const words = asked.map(({ name, dev, isPartition }) => `${isPartition ? '-' : ''}${name}:${dev}`);
    const options = { env: { UV_THREADPOOL_SIZE: threads }, deadlineMs: waitMs, signal };
    try {
      const { stdout } = await runOrAbandon(process.execPath, [program, ...words], options);
      for (const [name, reason] of read(stdout).reasons) found.set(name, reason);
    } catch (error) {
      if (!(error instanceof Abandoned)) throw error;
      const { reasons, answered } = read(error.stdout);
      for (const [name, reason] of reasons) found.set(name, reason);
      const left = asked.filter(({ name, isPartition }) => !isPartition && !answered.has(name));
      for (const { name } of left) {
        hung.add(name);
        found.set(name, silent);
      }
      void error.ended.then(() => {
        for (const { name } of left) hung.delete(name);
      });
    }
    return found;
  };
}

/** As disk-probe.ts says it; a line that was cut short is none. */
function read(stdout: string): { readonly reasons: Map<string, string>; readonly answered: Set<string> } {
  const reasons = new Map<string, string>();
  const answered = new Set<string>();
  for (const line of stdout.split('\n').slice(0, -1)) {
    const said = JSON.parse(line) as { name: string; claimed?: boolean; openIn?: string; pid?: number };
    const { name, claimed, openIn, pid } = said;
    if (openIn !== undefined) reasons.set(name, `is open in ${openIn} (process ${pid})`);
    if (claimed === undefined) continue;
    answered.add(name);
    if (claimed && !reasons.has(name))
      reasons.set(name, 'is claimed by the kernel or a program, as members of ZFS pools and arrays are');
  }
  return { reasons, answered };
}
