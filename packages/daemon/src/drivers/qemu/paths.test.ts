import { describe, expect, it } from 'vitest';
import { guestPaths } from './paths.ts';

const id = '01K00000000000000000000001';

describe('the files of a guest', () => {
  it('lie in directories of its own, run-time files apart from logs', () => {
    const paths = guestPaths({ stateDirectory: '/state', runDirectory: '/run/wirt' }, id);
    expect(paths.sockets.qmp).toBe(`/run/wirt/instances/${id}/qmp.sock`);
    expect(paths.qemuLog).toBe(`/state/instances/${id}/qemu.log`);
  });

  it('are refused, with the way out, where the path of a socket would be too long', () => {
    const runDirectory = `/${'d'.repeat(80)}`;
    expect(() => guestPaths({ stateDirectory: '/state', runDirectory }, id)).toThrow(
      expect.objectContaining({
        code: 'daemon.config_invalid',
        message: expect.stringContaining(runDirectory),
        hint: expect.stringContaining('--run-dir'),
      }),
    );
  });

  it.each(['', '..', 'a/b', '01K', `${id}x`, '91K00000000000000000000001'])(
    'are none for %j, which is no id',
    (wrong) => {
      expect(() => guestPaths({ stateDirectory: '/state', runDirectory: '/run' }, wrong)).toThrow(
        'id of a guest',
      );
    },
  );
});
