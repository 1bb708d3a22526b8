import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  deviceOf,
  diskOfDevice,
  diskOfIothread,
  iothreadsOf,
  isJobOf,
  jobOf,
  nodeName,
  parseNodeName,
  throttleName,
} from './disk-names.ts';

const layer = fc.stringMatching(/^[0-7][0-9A-HJKMNP-TV-Z]{25}$/);
const disk = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?$/);

describe('the name of a node', () => {
  it('fits QEMU’s 31 characters, and says what it was made from', () => {
    fc.assert(
      fc.property(fc.constantFrom('format', 'file'), fc.nat(999), layer, (kind, number, id) => {
        const name = nodeName({ kind, number, layer: id });
        expect(name).toMatch(/^[a-zA-Z][a-zA-Z0-9._-]{0,30}$/);
        expect(parseNodeName(name)).toEqual({ kind, number, layer: id });
      }),
    );
  });

  it.each(['#block123', 'firmware-code', 'd1000-x', 'd1-', ''])('%s is no disk’s', (name) => {
    expect(parseNodeName(name)).toBeUndefined();
  });
});

describe('the name of a device', () => {
  it('leads back to the disk, as an id and as a QOM path', () => {
    fc.assert(
      fc.property(disk, (name) => {
        expect(diskOfDevice(deviceOf(name))).toBe(name);
        expect(diskOfDevice(`/machine/peripheral/${deviceOf(name)}/virtio-backend`)).toBe(name);
      }),
    );
  });

  it.each(['nic0', '/machine/peripheral/serial0', '/machine/unattached/device[3]', ''])(
    '%s is no disk',
    (id) => {
      expect(diskOfDevice(id)).toBeUndefined();
    },
  );
});

it('the names of a disk’s threads are each its own, and lead back to the disk', () => {
  fc.assert(
    fc.property(disk, disk, (one, two) => {
      const names = iothreadsOf(one, 4);
      expect(new Set(names).size).toBe(4);
      for (const name of names) {
        expect(name).toMatch(/^[a-zA-Z][a-zA-Z0-9._-]*$/);
        expect(diskOfIothread(name)).toBe(one);
        expect(iothreadsOf(two, 4).includes(name)).toBe(one === two);
      }
    }),
  );
});

it('the name of a job tells of which of two disks it is, also when one’s name begins like the other’s', () => {
  fc.assert(
    fc.property(disk, disk, layer, (one, two, id) => {
      expect(isJobOf(one, jobOf(two, id))).toBe(one === two);
    }),
  );
});

it('the name of a throttle is that of no layer, and says of which disk it is', () => {
  fc.assert(
    fc.property(fc.nat(999), (number) => {
      expect(parseNodeName(throttleName(number))).toEqual({ kind: 'throttle', number });
    }),
  );
});
