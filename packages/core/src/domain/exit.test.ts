import { describe, expect, it } from 'vitest';
import { backOffMs, type ExitFacts, explainExit, isFailure, restarts } from './exit.ts';

function explain(facts: Partial<ExitFacts['exit']>, rest: Partial<ExitFacts> = {}) {
  return explainExit({
    at: '2030-01-01T00:00:00.000Z',
    exit: { process: { kind: 'exited', code: 0 }, lastLine: '', ...facts },
    oomKills: 0,
    memoryMib: 512,
    ...rest,
  });
}

describe('the reason of an end', () => {
  it('is a shutdown from inside when QEMU exits with 0 unasked', () => {
    expect(explain({ shutdownReason: 'guest-shutdown' })).toMatchObject({
      reason: 'guest-shutdown',
      code: 0,
    });
  });

  it('is memory when the kernel killed it for memory, and says how much the guest has', () => {
    const exit = explain({ process: { kind: 'signalled', signal: 'SIGKILL' } }, { oomKills: 1 });
    expect(exit).toMatchObject({ reason: 'oom', signal: 'SIGKILL' });
    expect(exit.message).toContain('512 MiB');
  });

  it('is the signal when somebody else killed it, with QEMU’s last line', () => {
    const exit = explain({ process: { kind: 'signalled', signal: 'SIGSEGV' }, lastLine: 'qemu: bad things' });
    expect(exit).toMatchObject({ reason: 'signal', signal: 'SIGSEGV' });
    expect(exit.message).toBe('QEMU was ended by SIGSEGV. QEMU’s last line: qemu: bad things');
  });

  it('is a signal when QEMU exits with 0 because it was told to by SIGTERM from outside', () => {
    expect(explain({ shutdownReason: 'host-signal' }).reason).toBe('signal');
  });

  it('is an error when QEMU exits with another status, or the guest panicked', () => {
    expect(explain({ process: { kind: 'exited', code: 1 }, lastLine: 'no such thing' })).toMatchObject({
      reason: 'error',
      code: 1,
    });
    expect(explain({ shutdownReason: 'guest-panic' }).reason).toBe('error');
    // However its QEMU was ended for it.
    for (const process of [
      { kind: 'exited', code: 0 },
      { kind: 'signalled', signal: 'SIGKILL' },
    ] as const)
      expect(explain({ shutdownReason: 'guest-panic', process })).toMatchObject({
        reason: 'error',
        message: 'The guest’s kernel panicked, and did not restart by itself.',
      });
    expect(explain({ shutdownReason: 'guest-panic-loop' })).toMatchObject({
      reason: 'error',
      message: 'The guest’s kernel panicked, again and again.',
    });
  });

  it('is what was asked, when something was asked', () => {
    expect(explain({}, { asked: 'stop' }).reason).toBe('stopped');
    expect(explain({ process: { kind: 'signalled', signal: 'SIGKILL' } }, { asked: 'force' }).reason).toBe(
      'killed',
    );
  });
});

describe('the restart policy', () => {
  const reasons = ['guest-shutdown', 'stopped', 'killed', 'oom', 'signal', 'error', 'lost'] as const;

  it('never starts anything again when it is never', () => {
    expect(reasons.filter((reason) => restarts('never', reason))).toEqual([]);
  });

  it('starts what failed again when it is on-failure', () => {
    expect(reasons.filter((reason) => restarts('on-failure', reason))).toEqual([
      'oom',
      'signal',
      'error',
      'lost',
    ]);
    expect(reasons.filter(isFailure)).toEqual(['oom', 'signal', 'error', 'lost']);
  });

  it('starts everything again but what a person stopped when it is always', () => {
    expect(reasons.filter((reason) => !restarts('always', reason))).toEqual(['stopped', 'killed']);
  });

  it('waits 1 s, doubles, and never waits more than 5 minutes', () => {
    expect([0, 1, 2, 3].map(backOffMs)).toEqual([1000, 2000, 4000, 8000]);
    expect(backOffMs(9)).toBe(300_000);
    expect(backOffMs(1_000_000)).toBe(300_000);
  });
});
