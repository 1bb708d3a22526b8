// Runs named steps one after the other: quiet while they pass, with their whole output when they fail, and with the
// time that each took. A step is a program with arguments; its exit code decides.
import { spawn } from 'node:child_process';
import { join } from 'node:path';

export const root = join(import.meta.dirname, '..');

export interface Step {
  name: string;
  argv: [string, ...string[]];
  /** Shows the output as it comes, for steps that are worth watching. */
  live?: boolean;
  env?: Record<string, string>;
}

export interface StepResult {
  name: string;
  exitCode: number;
  output: string;
  seconds: number;
}

/** A program of node_modules/.bin, by its path. */
export function tool(name: string): string {
  return join(root, 'node_modules/.bin', name);
}

/** Runs a step to its end. A program that cannot be started ends with exit code 127. */
export async function runStep(step: Step): Promise<StepResult> {
  const startedAt = performance.now();
  if (step.live) console.log(`\n== ${step.name}`);
  const [program, ...args] = step.argv;
  const child = spawn(program, args, {
    cwd: root,
    env: { ...process.env, ...step.env },
    stdio: step.live ? 'inherit' : ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const exitCode = await new Promise<number>((resolve) => {
    child.once('error', (error) => {
      output += `${error.message}\n`;
      resolve(127);
    });
    child.once('close', (code) => resolve(code ?? 1));
  });
  const result = { name: step.name, exitCode, output, seconds: (performance.now() - startedAt) / 1000 };
  if (!step.live) show(result);
  return result;
}

function show(result: StepResult): void {
  const mark = result.exitCode === 0 ? 'ok    ' : 'FAILED';
  console.log(`${mark} ${result.name.padEnd(12)} ${result.seconds.toFixed(1)} s`);
  if (result.exitCode !== 0) console.log(result.output.trimEnd());
}
