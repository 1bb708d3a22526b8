import { type ErrorCode, WirtError } from '@wirt/api/errors';
import { describe, expect, it } from 'vitest';
import { exitCodeMeanings, exitCodeOf, exitCodeOfAll, exitCodes, Interrupted } from './exit-code.ts';

const failing = (code: ErrorCode): WirtError => new WirtError(code, 'x');

describe('the exit code', () => {
  it.each([
    ['request.invalid', 2],
    ['request.unknown_field', 2],
    ['image.unknown_recipe', 2],
    ['instance.not_found', 3],
    ['operation.not_found', 3],
    ['instance.state_conflict', 4],
    ['request.revision_mismatch', 4],
    ['host.insufficient_memory', 4],
    ['guest.agent_unavailable', 4],
    ['daemon.unreachable', 5],
    ['daemon.stopping', 5],
    ['operation.wait_timeout', 124],
    ['guest.agent_timeout', 124],
    ['guest.output_too_large', 1],
    ['instance.start_failed', 1],
    ['internal', 1],
  ] as const)('of %s is %d', (code, exit) => {
    expect(exitCodeOf(failing(code))).toBe(exit);
  });

  it('of what is no error of Wirt is 1, and of Ctrl-C 130', () => {
    expect(exitCodeOf(new TypeError('x'))).toBe(1);
    expect(exitCodeOf(new Interrupted('x'))).toBe(130);
  });

  it('of several failures is theirs when they agree', () => {
    expect(exitCodeOfAll([])).toBe(0);
    expect(exitCodeOfAll([failing('image.not_found'), failing('instance.not_found')])).toBe(3);
    expect(exitCodeOfAll([failing('image.not_found'), failing('instance.state_conflict')])).toBe(1);
  });

  it('is explained in the help, each of them', () => {
    expect(exitCodeMeanings.map(([code]) => code)).toEqual(Object.values(exitCodes));
  });
});
