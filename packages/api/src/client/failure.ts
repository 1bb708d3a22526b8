/** A problem from the wire as the error that the server threw: code, sentence, cause, hint and details. */
import { type ErrorCode, errorCatalogue, WirtError } from '../errors.ts';
import type { Problem } from '../problem.ts';

/** `otherwise` is the sentence where the answer is no problem at all; a code of a newer server counts as `internal`. */
export function problemError(problem: Partial<Problem> | undefined, otherwise: string): WirtError {
  const code: ErrorCode =
    problem?.code !== undefined && Object.hasOwn(errorCatalogue, problem.code) ? problem.code : 'internal';
  return new WirtError(code, problem?.detail ?? otherwise, {
    ...(problem?.cause === undefined ? {} : { cause: problem.cause }),
    ...(problem?.hint === undefined ? {} : { hint: problem.hint }),
    ...(problem?.details === undefined ? {} : { details: problem.details }),
  });
}
