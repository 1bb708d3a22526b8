// make check: everything that is told without root and without QEMU, in under a minute. With --static, all but the
// unit tests. Ends with the plain summary line of the unit tests when they ran, and with exit code 1 on any failure.
import { pathToFileURL } from 'node:url';
import { runStep, type Step, type StepResult, tool } from './steps.ts';

const staticSteps: Step[] = [
  { name: 'format', argv: [tool('biome'), 'check', '--error-on-warnings', '.'] },
  { name: 'lint', argv: [tool('oxlint'), '--type-aware', '--deny-warnings'] },
  { name: 'types', argv: [tool('tsc'), '-b', '--pretty', 'false'] },
  { name: 'openapi', argv: [process.execPath, 'tools/generate-openapi.ts', '--check'] },
  { name: 'api lint', argv: [tool('redocly'), 'lint', '--config', 'redocly.yaml', 'openapi/wirt.json'] },
  { name: 'unused', argv: [tool('knip'), '--no-progress', '--no-config-hints'] },
];

/** Runs all static steps, so that one run tells everything; two at a time, which is what small machines have. */
export async function runStaticSteps(): Promise<StepResult[]> {
  const results: StepResult[] = [];
  const waiting = [...staticSteps];
  const work = async (): Promise<void> => {
    for (let step = waiting.shift(); step !== undefined; step = waiting.shift())
      results.push(await runStep(step));
  };
  await Promise.all([work(), work()]);
  return results;
}

async function main(): Promise<void> {
  const results = await runStaticSteps();
  if (!process.argv.includes('--static')) {
    results.push(
      await runStep({ name: 'unit', argv: [tool('vitest'), 'run', '--project', 'unit'], live: true }),
    );
  }
  const failed = results.filter(({ exitCode }) => exitCode !== 0).map(({ name }) => name);
  if (failed.length > 0) {
    console.error(`check: failed: ${failed.join(', ')}`);
    process.exitCode = 1;
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main();
