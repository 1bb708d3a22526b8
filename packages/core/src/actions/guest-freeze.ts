/**
 * A guest's file systems at rest for a moment, where its agent answers. The guest may hang, lie or end meanwhile: it is always asked to thaw,
 * and what it does not answer spoils no moment that has been.
 */
import { type Snapshot, type SnapshotCreate, WirtError } from '@wirt/api';
import type { Guest } from '../ports/hypervisor.ts';
import type { Progress } from './operation-runner.ts';

/** Freezing flushes the guest's caches first. */
const freezeMs = 30_000;
const thawMs = 10_000;

type Consistency = Pick<Snapshot['status'], 'consistency' | 'consistencyReason'>;

/** How consistent what was taken is, and why not better. */
export type Told = {
  -readonly [K in keyof Consistency]: Consistency[K];
};

/** Without a guest nothing was running; with one, it is as after a power cut until it is told otherwise. */
export function consistencyOf(guest: Guest | undefined): Told {
  return { consistency: guest === undefined ? 'stopped' : 'crash' };
}

/** Freezes the guest's file systems around the moment where its agent answers; `told` says how it went. */
export async function atRest(
  guest: Guest | undefined,
  wanted: SnapshotCreate['freeze'],
  told: Told,
  progress: Progress,
  moment: () => Promise<void>,
): Promise<void> {
  if (guest === undefined || wanted === 'none') {
    if (guest !== undefined) told.consistencyReason = 'Freezing was not asked for.';
    return moment();
  }
  const notFrozen = (problem: WirtError): void => {
    if (wanted === 'required') throw problem;
    told.consistencyReason = problem.message;
  };
  const problem = await freezeGuest(guest, progress);
  if (problem !== undefined) {
    notFrozen(problem);
    return moment();
  }
  try {
    await moment();
  } catch (error) {
    await thawed(guest);
    throw error;
  }
  const count = await thawed(guest);
  if (count === 0) return notFrozen(thawedBefore());
  told.consistency = 'frozen';
  // The moment is over: a guest that is silent now spoils nothing.
  if (count === undefined)
    told.consistencyReason = 'The guest did not say that its file systems have thawed.';
}

/** How many file systems were frozen until now; undefined when it does not say. Asked twice: one that stays frozen can write nothing. */
export async function thawed({ agent }: Guest, attempts = 2): Promise<number | undefined> {
  for (let attempt = 1; attempt <= attempts; attempt += 1) {
    try {
      return await agent.thaw(AbortSignal.timeout(thawMs));
    } catch {
      // Asked once more, or told in the record. Windows refuses once when it has thawed by itself, and then says 0.
    }
  }
  return undefined;
}

/** Windows holds its writes for 10 s at most, whether or not it was told to thaw. When it was, nobody knows: before the moment or after. */
function thawedBefore(): WirtError {
  return new WirtError(
    'guest.command_failed',
    'The file systems of the guest had thawed before they were told to.',
    { hint: 'Take it again when the guest and its host are less busy.' },
  );
}

/** Undefined when it is frozen, or why it is not. */
async function freezeGuest(guest: Guest, progress: Progress): Promise<WirtError | undefined> {
  if (guest.state.processors === 'paused')
    return new WirtError('guest.agent_unavailable', 'The guest is paused, and its agent with it.');
  if (!guest.state.agent)
    return new WirtError('guest.agent_unavailable', 'No guest agent answers in the guest.');
  progress.stage('freeze');
  try {
    const signal = AbortSignal.any([progress.signal, AbortSignal.timeout(freezeMs)]);
    if ((await guest.agent.freeze(signal)) > 0) return undefined;
    throw new WirtError('guest.command_failed', 'The guest agent found no file system that it could freeze.');
  } catch (error) {
    // It may freeze yet, after it was given up, and one that counts wrongly may have.
    await thawed(guest);
    progress.signal.throwIfAborted();
    return error instanceof WirtError
      ? error
      : new WirtError('guest.agent_timeout', 'The guest agent did not freeze the file systems in time.', {
          cause: error,
        });
  }
}
