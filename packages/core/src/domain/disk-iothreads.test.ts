import { describe, expect, it } from 'vitest';
import { iothreadsPerDisk, spreading } from './disk-iothreads.ts';

const able = { version: '11.0.0', mapsQueues: true };

describe('the threads of a disk', () => {
  it('are one for each four queues, and four at most', () => {
    const counts = [1, 4, 5, 8, 9, 12, 13, 16, 17, 1024].map((queues) => iothreadsPerDisk(queues, able));
    expect(counts).toEqual([1, 1, 2, 2, 3, 3, 4, 4, 4, 4]);
  });

  it('are one where QEMU cannot spread queues, or not without danger', () => {
    expect(iothreadsPerDisk(64, { version: '12.1.0', mapsQueues: false })).toBe(1);
    expect(iothreadsPerDisk(64, { version: '10.0.9', mapsQueues: true })).toBe(1);
  });

  it.each([
    ['7.2.22', false, 'no'],
    ['9.0.0', true, 'unsafe'],
    ['10.0.9', true, 'unsafe'],
    ['10.0.10', true, 'yes'],
    ['10.0.13', true, 'yes'],
    ['10.2.50', true, 'unsafe'],
    ['11.0.0', true, 'yes'],
    ['', true, 'unsafe'],
  ] as const)('by QEMU %s, with the property %s: %s', (version, mapsQueues, word) => {
    expect(spreading({ version, mapsQueues })).toBe(word);
  });
});
