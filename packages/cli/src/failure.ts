/** Tells people and programs what went wrong: three lines, or the problem as JSON, on standard error. */
import { causeText, WirtError } from '@wirt/api/errors';
import { visible } from './escape.ts';
import { exitCodeOf, Interrupted } from './exit-code.ts';
import { type Io, write } from './io.ts';
import { jsonText, type OutputKind } from './print.ts';

/** Prints the error and gives the exit code that it means. */
export async function printFailure(io: Io, error: unknown, output: OutputKind): Promise<number> {
  const text =
    output === 'json' && !(error instanceof Interrupted)
      ? await problemText(error)
      : lines(error)
          .map((line) => `${line}\n`)
          .join('');
  await write(io.stderr, text);
  return exitCodeOf(error);
}

function lines(error: unknown): string[] {
  if (!(error instanceof Error)) return [`wirt: ${visible(String(error))}`];
  const cause = causeText(error);
  const hint = error instanceof WirtError ? error.hint : undefined;
  return [
    `wirt: ${visible(error.message)}`,
    ...(cause === undefined ? [] : [`  cause: ${visible(cause)}`]),
    ...(hint === undefined ? [] : [`  hint: ${visible(hint)}`]),
  ];
}

async function problemText(error: unknown): Promise<string> {
  // The problem's schema brings zod along, which only this path pays for.
  const { toProblem } = await import('@wirt/api');
  const known =
    error instanceof WirtError
      ? error
      : new WirtError('internal', 'wirt failed by a defect of its own.', { cause: error });
  return jsonText(toProblem(known));
}
