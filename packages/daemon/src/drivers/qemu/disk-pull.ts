// Pulling what lies below a layer into it, by QEMU's job block-stream, while the guest runs. Whether it is done is told by
// the chain itself: the layers in between are gone from it. So a job that nobody watched is found running, or done, or is
// begun again; what it had copied need not be copied twice.
// Source: QEMU qapi/block-core.json (block-stream), qapi/job.json.
import { setTimeout as delay } from 'node:timers/promises';
import { WirtError } from '@wirt/api';
import type { GuestDisks } from '@wirt/core';
import type { QmpEvent } from '@wirt/qemu';
import { isRefusal, noAbort } from './control.ts';
import { dropUnused } from './disk-chain.ts';
import { type DiskContext, driveOf, refused } from './disk-context.ts';
import { flushLayer } from './disk-flush.ts';
import { isJobOf, jobOf, nodeName } from './disk-names.ts';

const progressMs = 1_000;
const cancelMs = 30_000;

export interface PullContext extends DiskContext {
  readonly ended: AbortSignal;
  onEvent(listener: (event: QmpEvent) => void): () => void;
}

type Work = Parameters<GuestDisks['pull']>[0];
type Options = Parameters<GuestDisks['pull']>[1];

export async function pullDisk(context: PullContext, work: Work, options: Options): Promise<void> {
  const job = jobOf(work.disk, work.layer);
  const ending = watch(context, job);
  const signal = AbortSignal.any([options.signal, context.ended]);
  try {
    while (!(await isDone(context, work, signal))) {
      const begun = await begin(context, work, job, signal);
      await follow(context, job, ending, { ...options, signal });
      // Its end may have gone untold, while QEMU did not answer. One that was begun here has no second try.
      if (begun && !(await isDone(context, work, signal)))
        throw new Error(ending.error ?? 'QEMU gave it up.');
    }
    await context.exclusively(() => flush(context, work, signal));
  } catch (error) {
    // The guest's end, or the daemon's, leaves the job alone.
    context.ended.throwIfAborted();
    if (options.signal.aborted) {
      await callOff(context, job, ending);
      throw options.signal.reason;
    }
    throw explain(error, `Disk ${work.disk} of instance ${context.id} could not be flattened.`);
  } finally {
    ending.stop();
  }
  await context.exclusively(() => dropUnused(context.ask));
}

/** Only then may the layers that are needed no more be removed. */
async function flush(context: PullContext, { disk, layer, base }: Work, signal: AbortSignal): Promise<void> {
  const { top } = await driveOf(context, disk, signal);
  await answered(signal, () => flushLayer(context.ask, { number: top.number, layer, below: base }, signal));
}

/** What is told of the job while it is waited for. */
interface Ending {
  /** QEMU's words, when it failed. */
  readonly error: string | undefined;
  /** The job is over, or has been since the last call. */
  next(): Promise<void>;
  stop(): void;
}

function watch(context: PullContext, job: string): Ending {
  let error: string | undefined;
  let over = Promise.withResolvers<void>();
  const stop = context.onEvent((event) => {
    if (event.event === 'BLOCK_JOB_COMPLETED' && event.data.device === job) error = event.data.error;
    if (event.event === 'JOB_STATUS_CHANGE' && event.data.id === job && event.data.status === 'null')
      over.resolve();
  });
  return {
    get error() {
      return error;
    },
    next: () => over.promise.finally(() => (over = Promise.withResolvers())),
    stop,
  };
}

/** Throws `volume.not_attached`, `volume.failed` when the chain is another than was thought. */
async function isDone(
  context: PullContext,
  { disk, layer, base }: Work,
  signal: AbortSignal,
): Promise<boolean> {
  const { layers } = await answered(signal, () => driveOf(context, disk, signal));
  const at = layers.indexOf(layer);
  const missing = [layer, ...(base === undefined ? [] : [base])].find((each) => !layers.includes(each));
  if (missing !== undefined || (base !== undefined && layers.indexOf(base) >= at)) {
    const cause = new Error(`Its layers are ${layers.join(', ')}; ${missing ?? base} was expected below.`);
    throw new WirtError('volume.failed', `Disk ${disk} of instance ${context.id} is not as expected.`, {
      cause,
    });
  }
  return layers[at - 1] === base;
}

/** True when it was begun here, false when it runs already. */
async function begin(context: PullContext, work: Work, job: string, signal: AbortSignal): Promise<boolean> {
  const { ask } = context;
  const jobs = await answered(signal, () => ask('query-jobs', {}, signal));
  if (jobs.some((each) => each.id === job)) return false;
  const other = jobs.find((each) => isJobOf(work.disk, each.id));
  // QEMU 7.2 does not survive every such attempt.
  if (other !== undefined) throw new Error(`Its chain is being worked on by ${other.id}.`);
  const { number } = (await driveOf(context, work.disk, signal)).top;
  const node = (layer: string): string => nodeName({ kind: 'format', number, layer });
  await context.exclusively(async () => {
    await ask(
      'block-stream',
      {
        'job-id': job,
        device: node(work.layer),
        // No header is to name a file of the host; what it says is believed by nobody here.
        ...(work.base === undefined ? {} : { 'base-node': node(work.base), 'backing-file': '' }),
        'auto-finalize': true,
        // One that waited to be dismissed would bar every other change of the chain.
        'auto-dismiss': true,
      },
      noAbort,
    );
  });
  return true;
}

/** Returns when there is no such job any more. */
async function follow(context: PullContext, job: string, ending: Ending, options: Options): Promise<void> {
  const { ask } = context;
  const { signal } = options;
  for (;;) {
    const jobs = await answered(signal, () => ask('query-jobs', {}, signal));
    const running = jobs.find((each) => each.id === job);
    if (running === undefined) return;
    options.onProgress(running['current-progress'], running['total-progress']);
    await tick(ending, signal);
  }
}

/** Until the job is over, or a while has gone by. */
async function tick(ending: Ending, signal: AbortSignal): Promise<void> {
  const over = new AbortController();
  const waited = delay(progressMs, undefined, { signal: AbortSignal.any([signal, over.signal]) });
  await Promise.race([ending.next(), waited]).finally(() => over.abort());
}

async function callOff({ ask, ended }: PullContext, job: string, ending: Ending): Promise<void> {
  const signal = AbortSignal.any([ended, AbortSignal.timeout(cancelMs)]);
  try {
    for (;;) {
      const there = (await ask('query-jobs', {}, signal)).some((each) => each.id === job);
      if (!there) return;
      await ask('job-cancel', { id: job }, signal).catch((error: unknown) => {
        if (!isRefusal(error)) throw error;
      });
      await tick(ending, signal);
    }
  } catch {
    // A QEMU that does not answer keeps it; the next pull finds it.
  }
}

/** Asks again as long as QEMU does not answer: the job is its own and may be going on. */
async function answered<T>(signal: AbortSignal, question: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await question();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof WirtError) || error.code !== 'instance.unresponsive') throw error;
      await delay(progressMs, undefined, { signal });
    }
  }
}

function explain(error: unknown, message: string): unknown {
  if (isRefusal(error)) return refused(error, 'volume.failed', message);
  return error instanceof WirtError ? error : new WirtError('volume.failed', message, { cause: error });
}
