/** One command for several names: they are worked on side by side, and what failed is gathered in the order of the names. */
import type { Outcome } from '../command.ts';
import { Interrupted } from '../exit-code.ts';
import type { View } from '../print.ts';

/** So many requests are on their way at once. */
const atOnce = 16;

/** What became of one name: a line for people, a record for programs. */
export interface Acted {
  readonly name: string;
  readonly line: string;
  readonly record: unknown;
}

/** A line each. */
export function actedView(acted: readonly Acted[]): View {
  return {
    data: acted.map(({ record }) => record),
    names: acted.map(({ name }) => name),
    table: () => [{ kind: 'lines', lines: acted.map(({ line }) => line) }],
  };
}

/** Does `act` for each name. Ctrl-C ends it at once. */
export async function forEach(
  given: readonly string[],
  act: (name: string) => Promise<Acted>,
): Promise<Outcome> {
  const results: ({ acted: Acted } | { error: unknown })[] = [];
  const queue = given.entries();
  const worker = async (): Promise<void> => {
    for (const [at, name] of queue) {
      try {
        results[at] = { acted: await act(name) };
      } catch (error) {
        if (error instanceof Interrupted) throw error;
        results[at] = { error };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, given.length) }, worker));
  const view = actedView(results.flatMap((result) => ('acted' in result ? [result.acted] : [])));
  const failures = results.flatMap((result) => ('error' in result ? [result.error] : []));
  return { ...(view.names.length > 0 ? { view } : {}), failures };
}
