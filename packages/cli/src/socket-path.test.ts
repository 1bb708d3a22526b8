import { describe, expect, it } from 'vitest';
import { socketPath } from './socket-path.ts';

const probe = (usable: readonly string[], owner: number | undefined = 1000) => ({
  usable: (path: string) => usable.includes(path),
  owner: () => owner,
});
const system = '/run/wirt/wirtd.sock';

describe('the socket', () => {
  it('is the one that was asked for, by option before environment', () => {
    const env = { WIRT_SOCKET: '/b', XDG_RUNTIME_DIR: '/run/user/1000' };
    expect(socketPath({ asked: '/a', env, uid: 1000 }, probe([]))).toBe('/a');
    expect(socketPath({ env, uid: 1000 }, probe([]))).toBe('/b');
  });

  it('is the system’s for root', () => {
    expect(socketPath({ env: { XDG_RUNTIME_DIR: '/run/user/0' }, uid: 0 }, probe([]))).toBe(system);
  });

  it('is the user’s own, in the runtime directory or else below /tmp', () => {
    const own = '/run/user/1000/wirt/wirtd.sock';
    expect(socketPath({ env: { XDG_RUNTIME_DIR: '/run/user/1000' }, uid: 1000 }, probe([own, system]))).toBe(
      own,
    );
    expect(socketPath({ env: {}, uid: 1000 }, probe(['/tmp/wirt-1000/wirtd.sock']))).toBe(
      '/tmp/wirt-1000/wirtd.sock',
    );
  });

  it('is the system’s when there is none of the user’s and that one may be used', () => {
    expect(socketPath({ env: {}, uid: 1000 }, probe([system]))).toBe(system);
    expect(socketPath({ env: {}, uid: 1000 }, probe([]))).toBe('/tmp/wirt-1000/wirtd.sock');
  });

  it('is refused below /tmp in a folder of somebody else', () => {
    const found = probe(['/tmp/wirt-1000/wirtd.sock'], 1001);
    expect(() => socketPath({ env: {}, uid: 1000 }, found)).toThrow('/tmp/wirt-1000 does not belong to you');
  });
});
