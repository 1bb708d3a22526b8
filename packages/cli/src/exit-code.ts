/** The exit codes of `wirt`. `wirt exec` passes the guest's own code through instead. */
import { type ErrorCode, errorCatalogue, WirtError } from '@wirt/api/errors';

export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  conflict: 4,
  unreachable: 5,
  timeout: 124,
  interrupted: 130,
} as const;

/** Only of `wirt network trace`: the connection is dropped. */
export const droppedExitCode = 6;

/** For help: what each code means. */
export const exitCodeMeanings: readonly (readonly [code: number, meaning: string])[] = [
  [exitCodes.ok, 'done'],
  [exitCodes.failed, 'failed'],
  [exitCodes.usage, 'wrong usage, or a value that is not allowed'],
  [exitCodes.notFound, 'what was named is not there'],
  [exitCodes.conflict, 'the state of things does not allow it'],
  [exitCodes.unreachable, 'wirtd does not answer'],
  [exitCodes.timeout, 'not done in the time given'],
  [exitCodes.interrupted, 'left by Ctrl-C; a started operation goes on'],
];

/** Thrown when Ctrl-C ended a wait; `message` says what goes on without us. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

export function exitCodeOf(error: unknown): number {
  if (error instanceof Interrupted) return exitCodes.interrupted;
  return error instanceof WirtError ? codeOf(error.code) : exitCodes.failed;
}

/** One code for several failures: theirs when they agree, else `failed`. */
export function exitCodeOfAll(errors: readonly unknown[]): number {
  const codes = new Set(errors.map(exitCodeOf));
  const [first = exitCodes.ok] = codes;
  return codes.size > 1 ? exitCodes.failed : first;
}

function codeOf(code: ErrorCode): number {
  if (code === 'daemon.unreachable' || code === 'daemon.stopping') return exitCodes.unreachable;
  if (code === 'guest.output_too_large') return exitCodes.failed;
  switch (errorCatalogue[code].status) {
    case 400:
    case 413:
      return exitCodes.usage;
    case 404:
      return exitCodes.notFound;
    case 409:
    case 412:
      return exitCodes.conflict;
    case 504:
      return exitCodes.timeout;
    default:
      return exitCodes.failed;
  }
}
