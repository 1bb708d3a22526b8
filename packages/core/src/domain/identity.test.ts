import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ec2Id, ec2Uuid, macOf, nameFor, ulidBytes, uuidOf } from './identity.ts';

const ulids = fc.ulid();

describe('what is derived from an id', () => {
  it('is the UUID of the same 128 bits', () => {
    expect(uuidOf('01ARZ3NDEKTSV4RRFFQ69G5FAV')).toBe('01563e3a-b5d3-d676-4c61-efb99302bd5b');
    expect(uuidOf('7ZZZZZZZZZZZZZZZZZZZZZZZZZ')).toBe('ffffffff-ffff-ffff-ffff-ffffffffffff');
  });

  it('is a UUID that cloud-init takes for one of EC2, and an id in EC2’s form', () => {
    expect(ec2Uuid(uuidOf('01ARZ3NDEKTSV4RRFFQ69G5FAV'))).toBe('ec263e3a-b5d3-d676-4c61-efb99302bd5b');
    expect(ec2Id('i', '01ARZ3NDEKTSV4RRFFQ69G5FAV')).toBe('i-64c61efb99302bd5b');
  });

  it('differs where ids differ', () => {
    fc.assert(fc.property(ulids, ulids, (a, b) => (uuidOf(a) === uuidOf(b)) === (a === b)));
  });

  it('is a unicast, locally administered MAC address for every NIC, each another', () => {
    fc.assert(
      fc.property(ulids, (id) => {
        const macs = [0, 1, 2, 3, 4, 5, 6, 7].map((nic) => macOf(id, nic));
        for (const mac of macs) expect(mac).toMatch(/^02(:[0-9a-f]{2}){5}$/);
        expect(new Set(macs).size).toBe(8);
      }),
    );
  });

  it('is a MAC address that no card of another instance has, also of one that was made in the same millisecond', () => {
    const [one, next] = ['01ARZ3NDEKTSV4RRFFQ69G5FAV', '01ARZ3NDEKTSV4RRFFQ69G5FAW'];
    const macs = [one, next].flatMap((id) => [0, 1, 2, 3, 4, 5, 6, 7].map((nic) => macOf(id, nic)));
    expect(new Set(macs).size).toBe(16);
  });

  it('is a name that the name rule allows, also for the longest image name', () => {
    const name = nameFor('i'.repeat(63), '01ARZ3NDEKTSV4RRFFQ69G5FAV');
    expect(name).toMatch(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/);
    expect(name.length).toBeLessThanOrEqual(63);
  });

  it('is refused for what is no ULID', () => {
    expect(() => ulidBytes('01ARZ3NDEKTSV4RRFFQ69G5FAU')).toThrow('"U" is not a digit of a ULID');
  });
});
