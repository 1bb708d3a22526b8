/** Disks written to files of this host, as `image export`, `volume export` and `snapshot export` do. */
import type { Operation } from '@wirt/api';
import type { Context, Outcome } from '../command.ts';
import { idempotent } from '../context.ts';
import { type FollowValues, followed, lineView } from '../follow.ts';
import { exportFormat, exportFormatChoices, hostPath } from '../host-path.ts';

export const exportFormatOption = {
  kind: 'choice',
  choices: exportFormatChoices,
  summary: 'Format of the file (default by its ending, else qcow2)',
} as const;

type Choice = Parameters<typeof exportFormat>[0];

function inputOf(format: Choice, path: string) {
  return { body: { format: exportFormat(format, path), path }, ...idempotent() };
}

/** Starts it, waits, and tells where it is; `what` is said of the target. */
export async function exported(
  context: Context,
  what: 'Image' | 'Volume' | 'Snapshot',
  file: string,
  options: FollowValues & { readonly format: Choice },
  start: (input: ReturnType<typeof inputOf>) => Promise<Operation>,
): Promise<Outcome> {
  const input = inputOf(options.format, hostPath(file));
  const { format, path } = input.body;
  return followed(context, await start(input), { ...options, cancels: true }, (ended) =>
    lineView(ended, path, `${what} ${ended.target.name} is in ${path} (${format})`),
  );
}
