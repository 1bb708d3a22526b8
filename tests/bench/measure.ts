// Medians and percentiles of repeated measurements, and the table they are printed in.

export interface Figure {
  readonly name: string;
  readonly measured: string;
  readonly promised: string;
  /** Undefined where the promise could not be measured; `measured` then says why. */
  readonly holds: boolean | undefined;
}

export async function timeMs(work: () => Promise<unknown>): Promise<number> {
  const from = performance.now();
  await work();
  return performance.now() - from;
}

/** Times of `count` runs one after the other, ascending. */
export async function times(count: number, work: (run: number) => Promise<number>): Promise<number[]> {
  const all: number[] = [];
  for (let run = 0; run < count; run += 1) all.push(await work(run));
  return all.sort((a, b) => a - b);
}

export function percentile(ascending: readonly number[], share: number): number {
  return ascending[Math.min(ascending.length - 1, Math.floor(ascending.length * share))] ?? Number.NaN;
}

export const median = (ascending: readonly number[]): number => percentile(ascending, 0.5);

export const ms = (value: number): string => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;

export function printTable(figures: readonly Figure[]): void {
  const rows = figures.map(({ name, measured, promised, holds }) => [
    name,
    measured,
    promised,
    holds === undefined ? 'not measured' : holds ? 'holds' : 'MISSED',
  ]);
  const table = [['figure', 'measured', 'promised', ''], ...rows];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...table.map((row) => (row[column] ?? '').length)));
  for (const row of table)
    console.log(
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    );
}
