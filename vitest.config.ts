// Test tiers as vitest projects: unit (fast, no root), contract (real QEMU and kernel), functional (a real wirtd), two files side by side in each,
// since they wait more than they work; and alone, those of both that measure, and have the machine to themselves.
// Every run ends with the plain summary line of tools/plain-summary-reporter.ts.
import { defineConfig } from 'vitest/config';

const packages = 'packages/**/src/**';

/** They measure shares of processors, and rates. */
const alone = [
  'tests/functional/limits*.test.ts',
  'tests/functional/usage.test.ts',
  `${packages}/network-bridge/rates.contract.test.ts`,
  `${packages}/cgroup/cgroup.contract.test.ts`,
];
const slow = { testTimeout: 180_000, hookTimeout: 180_000 } as const;
/** Real machines have bad seconds. What passes only then is named at the end of the run: tools/plain-summary-reporter.ts. */
const again = { retry: 1 } as const;
/** More than two guests at once, and their agents are late. */
const sideBySide = { pool: 'forks', maxWorkers: 2 } as const;

export default defineConfig({
  test: {
    reporters: ['default', './tools/plain-summary-reporter.ts'],
    projects: [
      {
        test: {
          name: 'unit',
          environment: 'node',
          include: [`${packages}/*.test.ts`, 'tests/repo/**/*.test.ts', 'tools/**/*.test.ts'],
          exclude: ['**/*.contract.test.ts', '**/node_modules/**', 'tests/repo/fixtures/**'],
          pool: 'forks',
          isolate: false, // files share a worker's modules: half the processor time; so a test puts back what it changes
          // Not setImmediate: what another file has left running would be drawn into the clock of a test, and never let it go on.
          fakeTimers: {
            toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'],
          },
          testTimeout: 10_000,
        },
      },
      {
        test: {
          name: 'contract',
          environment: 'node',
          include: [`${packages}/*.contract.test.ts`],
          exclude: ['**/node_modules/**', ...alone],
          ...sideBySide,
          ...again,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'functional',
          environment: 'node',
          include: ['tests/functional/**/*.test.ts'],
          exclude: ['**/node_modules/**', ...alone],
          globalSetup: ['./tests/build-first.ts'],
          ...sideBySide,
          ...again,
          ...slow,
        },
      },
      {
        test: {
          name: 'alone',
          environment: 'node',
          include: alone,
          globalSetup: ['./tests/build-first.ts'],
          pool: 'forks',
          fileParallelism: false,
          ...again,
          ...slow,
        },
      },
    ],
  },
});
