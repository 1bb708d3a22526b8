/** Means over the steps of a question, of the records of one file. Pure. */
import type { UsageSample } from '@wirt/core';
import { coarseRing, fineRing, recordsOf, type StepMean, sampleOf, together } from './ring-file.ts';

export interface Range {
  readonly fromMs: number;
  readonly toMs: number;
  readonly resolutionMs: number;
}

interface Piece {
  readonly endMs: number;
  readonly mean: StepMean;
}

/** Of the fine ring where it has anything of a coarse step, else of the coarse one. */
function* pieces(file: Buffer, resolutionMs: number): Iterable<Piece> {
  const finely = new Set<number>();
  if (resolutionMs < coarseRing.stepMs) {
    for (const mean of recordsOf(fineRing, file)) {
      const endMs = mean.step * fineRing.stepMs;
      finely.add(Math.ceil(endMs / coarseRing.stepMs));
      yield { endMs, mean };
    }
  }
  for (const mean of recordsOf(coarseRing, file))
    if (!finely.has(mean.step)) yield { endMs: mean.step * coarseRing.stepMs, mean };
}

/** As the port's `read`; `file` is the whole file. */
export function meansOf(file: Buffer, { fromMs, toMs, resolutionMs }: Range): UsageSample[] {
  const steps = new Map<number, StepMean>();
  for (const { endMs, mean } of pieces(file, resolutionMs)) {
    const step = Math.ceil(endMs / resolutionMs);
    const stepEndMs = step * resolutionMs;
    if (stepEndMs <= fromMs || stepEndMs > toMs) continue;
    steps.set(step, together(steps.get(step), { ...mean, step }));
  }
  return [...steps.values()]
    .sort((a, b) => a.step - b.step)
    .map(({ step, values }) => sampleOf(step * resolutionMs, values));
}
