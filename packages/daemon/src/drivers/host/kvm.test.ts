import { describe, expect, it } from 'vitest';
import { judgeKvm, type KvmSights } from './kvm.ts';

const good: KvmSights = {
  access: { mode: 0o660, gid: 104 },
  opened: true,
  virtualization: 'vmx',
  isPrivileged: true,
};

describe('KVM', () => {
  it('is usable when it opens, for guests too, on a processor that offers virtualization', () => {
    expect(judgeKvm(good)).toMatchObject({
      kvm: { device: true, opens: true, usable: true },
      opensForGuests: true,
    });
    expect(judgeKvm({ ...good, access: { mode: 0o666, gid: 0 } }).kvm.usable).toBe(true);
  });

  it('is not usable with a device but without the processor’s flag, and says that TCG is faster there', () => {
    const { kvm } = judgeKvm({ ...good, virtualization: 'none' });
    expect(kvm).toMatchObject({ device: true, opens: true, usable: false });
    expect(kvm.why).toMatch(/neither vmx nor svm.*slower.*TCG/);
  });

  it('is not usable for guests when only root can open it', () => {
    for (const access of [
      { mode: 0o600, gid: 104 },
      { mode: 0o660, gid: 0 },
    ]) {
      const seen = judgeKvm({ ...good, access });
      expect(seen).toMatchObject({ kvm: { opens: true, usable: false }, opensForGuests: false });
      expect(seen.kvm.why).toContain('root only');
      // Without root there is no other uid: the daemon's own is the guest's.
      expect(judgeKvm({ ...good, access, isPrivileged: false }).kvm.usable).toBe(true);
    }
  });

  it('says why it does not open, and what is missing without a device', () => {
    expect(judgeKvm({ ...good, opened: 'EACCES' }).kvm).toMatchObject({
      opens: false,
      usable: false,
      why: '/dev/kvm does not open (EACCES).',
    });
    const none = { ...good, access: undefined, opened: 'ENOENT' } as const;
    expect(judgeKvm(none).kvm.why).toContain('module is not loaded');
    expect(judgeKvm({ ...none, virtualization: 'none' }).kvm.why).toContain('offers no virtualization');
  });
});
