// Three test tiers as vitest projects: unit (fast, no root), contract (real QEMU and kernel), functional (a real wirtd).
// Every run ends with the plain summary line of tools/plain-summary-reporter.ts.
import { defineConfig } from 'vitest/config';

const packages = 'packages/**/src/**';

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
          testTimeout: 10_000,
        },
      },
      {
        test: {
          name: 'contract',
          environment: 'node',
          include: [`${packages}/*.contract.test.ts`],
          pool: 'forks',
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'functional',
          environment: 'node',
          include: ['tests/functional/**/*.test.ts'],
          globalSetup: ['./tests/build-first.ts'],
          pool: 'forks',
          fileParallelism: false,
          testTimeout: 180_000,
          hookTimeout: 180_000,
        },
      },
    ],
  },
});
