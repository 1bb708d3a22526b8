/** What every command that starts an operation does with it: leave it, or wait for its end and tell what came of it. */
import type { Operation } from '@wirt/api';
import type { Context, Outcome } from './command.ts';
import type { View } from './print.ts';
import { describe, waitForOperation } from './wait.ts';

/** What copies takes as long as it takes; what hangs is ended by the daemon. */
export const copySeconds = 86_400;

/** The options of such a command. */
export function followOptions<const S extends number>(seconds: S) {
  return {
    'no-wait': { kind: 'flag', summary: 'Return at once with the operation' },
    timeout: { kind: 'seconds', value: 'SECONDS', default: seconds, summary: 'How long to wait' },
  } as const;
}

export interface FollowValues {
  readonly 'no-wait': boolean;
  readonly timeout: number;
}

interface Following {
  readonly silent?: boolean;
  /** The first Ctrl-C cancels the operation, the second leaves. */
  readonly cancels?: boolean;
}

/** The ended operation, or undefined when it was not to be waited for. */
export async function follow(
  context: Context,
  operation: Operation,
  options: FollowValues,
  { silent = false, cancels = false }: Following = {},
): Promise<Operation | undefined> {
  if (options['no-wait']) return undefined;
  const timeoutSeconds = options.timeout;
  return waitForOperation(context, operation, { timeoutSeconds, silent, cancelOnInterrupt: cancels });
}

/** As `follow`, and then what `told` says of it. */
export async function followed(
  context: Context,
  operation: Operation,
  options: FollowValues & Following,
  told: (operation: Operation) => View | Promise<View>,
): Promise<Outcome> {
  const ended = await follow(context, operation, options, options);
  return { view: ended === undefined ? goesOnView(operation) : await told(ended) };
}

export function goesOnLine(operation: Operation): string {
  return `${describe(operation)} goes on as operation ${operation.id}`;
}

function goesOnView(operation: Operation): View {
  return lineView(operation, operation.id, goesOnLine(operation));
}

/** A record that is told in one line. */
export function lineView(record: unknown, name: string, ...lines: readonly string[]): View {
  return { data: record, names: [name], table: () => [{ kind: 'lines', lines }] };
}

/** Said in the help of what copies. */
export const cancelNote =
  'Ctrl-C cancels it, and what it has made is taken away; a second Ctrl-C leaves at once.';
