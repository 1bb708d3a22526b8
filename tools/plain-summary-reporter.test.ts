// The closing line must come from what really ran: counted over modules, broken files and stray errors included.
import { describe, expect, it } from 'vitest';
import { summaryLine, tallyModules } from './plain-summary-reporter.ts';

type CountedModule = Parameters<typeof tallyModules>[0][number];

/** A module as vitest hands it over, with only the members that are counted. */
function moduleWith(states: string[], state = 'passed'): CountedModule {
  const errors = [{ message: 'expected 1 to be 2' }, { message: 'and more' }];
  const tests = states.map((each) => ({
    name: `is ${each}`,
    result: () => ({ state: each, errors: each === 'passed' ? [] : errors }),
  }));
  return {
    state: () => state,
    relativeModuleId: 'a.test.ts',
    errors: () => [{ message: 'cannot be loaded:\n\n  no such file\n  here' }],
    children: { allTests: () => tests },
  } as unknown as CountedModule;
}

describe('the plain summary', () => {
  it('adds up the tests of all modules', () => {
    const tally = tallyModules(
      [moduleWith(['passed', 'passed']), moduleWith(['passed', 'failed'], 'failed')],
      [],
    );
    expect(summaryLine(tally)).toBe('tests: 3 passed, 1 failed');
  });

  it('names skipped tests on a line of their own, before the last', () => {
    const tally = tallyModules([moduleWith(['passed', 'skipped'])], []);
    expect(summaryLine(tally)).toBe('skipped: 1\ntests: 1 passed, 0 failed');
  });

  it('counts a file that could not be loaded as a failed test', () => {
    expect(tallyModules([moduleWith([], 'failed')], []).failed).toBe(1);
  });

  it('counts an error outside any test as a failed test', () => {
    expect(tallyModules([moduleWith(['passed'])], [new Error('lost'), new Error('late')])).toMatchObject({
      passed: 1,
      failed: 2,
      failures: ['outside any test: lost', 'outside any test: late'],
    });
  });

  it('counts a test that never finished as failed', () => {
    expect(tallyModules([moduleWith(['pending'])], []).failed).toBe(1);
  });

  it('names the cause of an error, whether it is an error itself or words', () => {
    const lost = (cause: unknown): string[] => tallyModules([], [new Error('lost', { cause })]).failures;
    expect([...lost(new Error('no route')), ...lost('no answer')]).toEqual([
      'outside any test: lost (no route)',
      'outside any test: lost (no answer)',
    ]);
  });

  it('names each failed test and each broken file with the beginning of its error', () => {
    expect(
      tallyModules([moduleWith(['passed', 'failed'], 'failed'), moduleWith([], 'failed')], []).failures,
    ).toEqual(['is failed: expected 1 to be 2', 'a.test.ts: cannot be loaded: no such file here']);
  });
});
