// Devices for which the kernel has not answered a write: whoever writes once more waits behind it, and some of what can be read of
// them is behind the same lock. They are left alone until the kernel is through. A new daemon finds out anew.
import { type DeviceRefusal, stuckRefusal } from '@wirt/core';

export interface StuckDevices {
  /** What the device was to be, as `unbound from igb`; undefined: nobody waits. */
  of(address: string): string | undefined;
  refusal(address: string): DeviceRefusal | undefined;
  /** Until `ended`; for good without. */
  add(address: string, operation: string, ended?: Promise<void>): void;
}

export function createStuckDevices(): StuckDevices {
  const waits = new Map<string, string>();
  return {
    of: (address) => waits.get(address),
    refusal(address) {
      const operation = waits.get(address);
      return operation === undefined ? undefined : stuckRefusal(address, operation);
    },
    add(address, operation, ended) {
      waits.set(address, operation);
      ended?.then(
        () => void waits.delete(address),
        () => undefined,
      );
    },
  };
}
