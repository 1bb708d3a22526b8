/** Errors on the wire: `application/problem+json` (RFC 9457) with Wirt's stable `code`, cause and hint. */
import * as z from 'zod';
import { causeText, type ErrorCode, errorCatalogue, WirtError } from './errors.ts';

// Object.keys loses the key type; the catalogue is a literal table, so its keys are exactly ErrorCode.
const codes = Object.keys(errorCatalogue) as [ErrorCode, ...ErrorCode[]];

export const problemSchema = z
  .object({
    type: z.string().describe('A reference to the description of the code.'),
    title: z.string().describe('What this code means, the same for every occurrence.'),
    status: z.int(),
    code: z.enum(codes),
    detail: z.string().describe('The sentence that names the object and the operation.'),
    cause: z.string().optional().describe('What made it fail; QEMU’s own last line where there is one.'),
    hint: z.string().optional().describe('The next step, with the command.'),
    details: z.record(z.string(), z.unknown()).optional().describe('Figures and names for programs.'),
  })
  .meta({ id: 'Problem', description: 'An error (RFC 9457).' });

export type Problem = z.infer<typeof problemSchema>;

/** Renders any error for the wire. What is not a WirtError is a defect and says nothing of its inside. */
export function toProblem(error: unknown): Problem {
  const known =
    error instanceof WirtError
      ? error
      : new WirtError('internal', 'The request failed by a defect in wirtd.', {
          hint: 'The daemon’s log has the details: see `journalctl -u wirtd` or its standard error.',
        });
  const kind = errorCatalogue[known.code];
  const cause = causeText(known);
  return {
    type: `urn:wirt:error:${known.code}`,
    title: kind.title,
    status: kind.status,
    code: known.code,
    detail: known.message,
    ...(cause === undefined ? {} : { cause }),
    ...(known.hint === undefined ? {} : { hint: known.hint }),
    ...(known.details === undefined ? {} : { details: { ...known.details } }),
  };
}
