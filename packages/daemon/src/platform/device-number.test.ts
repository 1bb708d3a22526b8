import { describe, expect, it } from 'vitest';
import { deviceNumbersOf, devicePair } from './device-number.ts';

describe('the numbers of a device', () => {
  it.for([
    [0x0811, '8:17'],
    [0xfe01, '254:1'],
    // A minor above 255 goes on above the major.
    [0x100811, '8:273'],
    [0xfff0_00ff, '0:1048575'],
  ] as const)('%i are %s', ([rdev, pair]) => {
    expect(devicePair(deviceNumbersOf(rdev))).toBe(pair);
  });
});
