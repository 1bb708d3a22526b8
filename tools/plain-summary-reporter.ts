// Prints, as the very last line of a vitest run, `tests: N passed, N failed`; skipped tests are counted on a line before, and those that passed only
// when they were tried again.
// Counts are what vitest really ran, summed over all projects. A file that failed to load and an error outside any test
// count as failed tests, so that no broken run looks green. With WIRT_TEST_TALLY set to a file, the counts go there as
// one JSON line instead, for tools/test.ts to add up over tiers.
import { appendFileSync } from 'node:fs';
import type { Reporter, TestModule, TestRunEndReason } from 'vitest/node';

export interface Tally {
  passed: number;
  failed: number;
  skipped: number;
  /** One line for each test that failed, and then passed: neither hidden, nor a failure. */
  unsteady: string[];
  /** One line for each failed test, file, and error outside any: its name, and how its error begins. */
  failures: string[];
}

export function emptyTally(): Tally {
  return { passed: 0, failed: 0, skipped: 0, unsteady: [], failures: [] };
}

/** Adds the counts of `more` to `sum`. */
export function addTally(sum: Tally, more: Tally): void {
  sum.passed += more.passed;
  sum.failed += more.failed;
  sum.skipped += more.skipped;
  sum.unsteady.push(...more.unsteady);
  sum.failures.push(...more.failures);
}

interface ErrorLike {
  readonly message: string;
  readonly cause?: string | { readonly message: string };
}

function failureLine(name: string, errors: readonly ErrorLike[]): string {
  const [error] = errors;
  if (error === undefined) return `${name}: no error was given`;
  const { cause: why } = error;
  const cause = why === undefined ? '' : ` (${typeof why === 'string' ? why : why.message})`;
  return `${name}: ${error.message}${cause}`.replace(/[\s\p{Cc}]+/gu, ' ').trim();
}

type CountedModule = Pick<TestModule, 'state' | 'errors' | 'children' | 'relativeModuleId'>;

/** Counts every test of the modules. A module that failed without a failed test of its own counts as one failure. */
export function tallyModules(modules: readonly CountedModule[], unhandled: readonly unknown[]): Tally {
  const failures = unhandled.map((error) => failureLine('outside any test', [error as ErrorLike]));
  const tally: Tally = { ...emptyTally(), failed: unhandled.length, failures };
  for (const module of modules) {
    let failedHere = 0;
    for (const test of module.children.allTests()) {
      const { state, errors = [] } = test.result();
      if (state === 'passed') {
        tally.passed += 1;
        if (errors.length > 0) tally.unsteady.push(failureLine(test.name, errors));
      } else if (state === 'skipped') tally.skipped += 1;
      else {
        failedHere += 1; // failed, or still pending when the run ended
        tally.failures.push(failureLine(test.name, errors));
      }
    }
    if (failedHere === 0 && module.state() === 'failed') {
      failedHere = 1;
      tally.failures.push(failureLine(module.relativeModuleId, module.errors()));
    }
    tally.failed += failedHere;
  }
  return tally;
}

/** The plain closing line, after one for skipped tests when there are some. */
export function summaryLine(tally: Tally): string {
  const line = `tests: ${tally.passed} passed, ${tally.failed} failed`;
  return tally.skipped > 0 ? `skipped: ${tally.skipped}\n${line}` : line;
}

export default class PlainSummaryReporter implements Reporter {
  onTestRunEnd(
    modules: readonly TestModule[],
    unhandledErrors: readonly unknown[],
    reason: TestRunEndReason,
  ): void {
    const tally = tallyModules(modules, unhandledErrors);
    if (reason === 'interrupted' && tally.failed === 0) tally.failed = 1;
    const file = process.env['WIRT_TEST_TALLY'];
    if (file) appendFileSync(file, `${JSON.stringify(tally)}\n`);
    else process.stdout.write(`${summaryLine(tally)}\n`);
  }
}
