// make test: every tier that is not lab, e2e or bench, in order, with the host compared before and after. Each static
// check and the comparison count as one test; all other counts are vitest's own. A tier that ends in error without a
// failed test, or without counts, is one failure. The last line is `tests: N passed, N failed`, and nothing else.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runStaticSteps } from './check.ts';
import { readHostState, settle } from './host-state.ts';
import { addTally, emptyTally, summaryLine, type Tally } from './plain-summary-reporter.ts';
import { root, runStep, tool } from './steps.ts';

/** Unpacked by tools/setup.sh --test; tests that want it skip where it is not. */
const agent = join(root, '.wirt/test-cache/qemu-guest-agent/usr/sbin/qemu-ga');

const tiers = ['unit', 'contract', 'functional', 'alone'] as const;

/** Counts of a vitest run from its tally file and exit code, so that a run that broke is never green. */
function readTally(path: string, exitCode: number): Tally {
  const tally = emptyTally();
  let lines: string[] = [];
  try {
    lines = readFileSync(path, 'utf8').split('\n').filter(Boolean);
  } catch {
    // no file: vitest did not get as far as counting
  }
  for (const line of lines) addTally(tally, JSON.parse(line) as Tally);
  if (tally.failed === 0 && (exitCode !== 0 || lines.length === 0)) tally.failed = 1;
  return tally;
}

async function runTier(tier: string, folder: string): Promise<Tally> {
  const file = join(folder, `${tier}.tally`);
  const argv: [string, ...string[]] = [tool('vitest'), 'run', '--project', tier];
  const { exitCode } = await runStep({
    name: tier,
    argv,
    live: true,
    env: { WIRT_TEST_TALLY: file, QEMU_GA: agent },
  });
  return readTally(file, exitCode);
}

async function checkHost(before: ReadonlySet<string>): Promise<Tally> {
  const left = await settle(before, 10_000);
  if (left.length === 0) return { ...emptyTally(), passed: 1 };
  console.log('\nThe tests left behind on this host:');
  for (const each of left) console.log(`  ${each}`);
  return { ...emptyTally(), failed: 1, failures: [`left behind: ${left.slice(0, 2).join(', ')}`] };
}

/** The first few, short enough that they are still seen where only the end of a log is kept. */
function firstOf(lines: readonly string[]): string[] {
  return lines
    .slice(0, 6)
    .map((line) => (line.length > 400 ? `${line.slice(0, 200)} … ${line.slice(-199)}` : line));
}

async function main(): Promise<void> {
  const only = process.argv.slice(2);
  const wanted = (tier: string): boolean => only.length === 0 || only.includes(tier);
  const folder = mkdtempSync(join(tmpdir(), 'test-tally-'));
  const results = new Map<string, Tally>();
  const before = readHostState();
  if (wanted('static')) {
    const build = await runStep({ name: 'build', argv: [process.execPath, 'tools/build.ts'] });
    const steps = [build, ...(await runStaticSteps())];
    const failures = steps.filter(({ exitCode }) => exitCode !== 0).map(({ name }) => `static check ${name}`);
    results.set('static', {
      ...emptyTally(),
      passed: steps.length - failures.length,
      failed: failures.length,
      failures,
    });
  }
  for (const tier of tiers) if (wanted(tier)) results.set(tier, await runTier(tier, folder));
  results.set('clean host', await checkHost(before));
  rmSync(folder, { recursive: true });
  const total = emptyTally();
  console.log('');
  for (const [name, tally] of results) {
    addTally(total, tally);
    const skipped = tally.skipped > 0 ? `, ${tally.skipped} skipped` : '';
    console.log(`${name.padEnd(12)} ${tally.passed} passed, ${tally.failed} failed${skipped}`);
  }
  for (const line of firstOf(total.unsteady)) console.log(`passed at the second try: ${line}`);
  for (const line of firstOf(total.failures)) console.log(`failed: ${line}`);
  process.exitCode = total.failed === 0 ? 0 : 1;
  console.log(summaryLine(total));
}

process.chdir(root);
await main();
