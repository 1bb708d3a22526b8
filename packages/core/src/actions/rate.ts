/** How fast a count of bytes grows: over the last seconds, so that a stall shows. */
import type { Operation } from '@wirt/api';

type Counted = NonNullable<Operation['progress']>;

/** Adds the rate to a count of a stage. Counts of another stage begin anew. */
export type Rate = (
  stage: string,
  counted: Pick<Counted, 'done' | 'total' | 'unit'>,
  nowMs: number,
) => Counted;

const windowMs = 5_000;
/** A rate over less says more about the clock. */
const leastMs = 500;
/** Counts come by the thousand. */
const apartMs = 100;

export function createRate(): Rate {
  let of = '';
  let seen: { readonly atMs: number; readonly done: number }[] = [];
  return (stage, { done, total, unit }, nowMs) => {
    const last = seen.at(-1);
    if (stage !== of || (last !== undefined && done < last.done)) seen = [];
    of = stage;
    if (last === undefined || seen.length === 0 || nowMs - last.atMs >= apartMs)
      seen = [...seen.filter(({ atMs }) => nowMs - atMs <= windowMs), { atMs: nowMs, done }];
    const first = seen[0];
    const sinceMs = first === undefined ? 0 : nowMs - first.atMs;
    if (unit !== 'bytes' || first === undefined || sinceMs < leastMs) return { done, total, unit };
    return { done, total, unit, perSecond: Math.round(((done - first.done) * 1000) / sinceMs) };
  };
}
