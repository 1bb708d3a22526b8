import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { keySpecs, type Unit, unitTexts } from './limit-keys.ts';
import { type LimitValue, limitText, parseLimit } from './limit-patch.ts';
import { BadValue } from './units.ts';

const mib = 1024 ** 2;

describe('a value of a limit', () => {
  it.each<[Unit, string, LimitValue]>([
    ['byte-rate', '10MiB', { rate: 10 * mib }],
    ['byte-rate', '10MB', { rate: 10_000_000 }],
    ['byte-rate', '10mib', { rate: 10 * mib }],
    ['byte-rate', '1.5 GiB/s', { rate: 1536 * mib }],
    ['byte-rate', '80Mbit', { rate: 10_000_000 }],
    ['byte-rate', '10MiB:50MiB/10s', { rate: 10 * mib, burst: 50 * mib, burstSeconds: 10 }],
    ['byte-rate', '10MiB/s:50MiB/s/2m', { rate: 10 * mib, burst: 50 * mib, burstSeconds: 120 }],
    ['byte-rate', '10MiB:50MiB', { rate: 10 * mib, burst: 50 * mib }],
    ['byte-rate', 'none', { rate: 0 }],
    ['byte-rate', '0', { rate: 0 }],
    ['operation-rate', '500:2000/30s', { rate: 500, burst: 2000, burstSeconds: 30 }],
    ['network-rate', '100Mbit', 12_500_000],
    ['network-rate', '100mbit', 12_500_000],
    ['network-rate', '10MiB', 10 * mib],
    ['network-rate', '1kbit', 125],
    ['network-burst', '64KiB', 65_536],
    ['cores', '0.5', 0.5],
    ['cores', 'none', 0],
    ['time', '50ms', 50],
    ['time', '0.2s', 200],
    ['time', '250us', 0.25],
    ['size', '2G', 2048],
    ['ceiling', 'auto', 'auto'],
    ['swap', '0', 0],
    ['switch', 'off', false],
    ['weight', '300', 300],
    ['memory', '2GiB', 2048],
  ])('of %s, %s, is read', (unit, text, value) => {
    expect(parseLimit(unit, text)).toEqual(value);
  });

  it.each<[Unit, string, string]>([
    ['byte-rate', '10X', 'knows the units B, kB, MB'],
    ['byte-rate', '10M', 'knows the units'],
    ['byte-rate', '10', 'needs a unit: 10MiB or 10MB'],
    ['byte-rate', '10Mb', 'knows the units'],
    ['byte-rate', '10mb', 'knows the units'],
    ['byte-rate', '-1MiB', 'takes an amount'],
    ['byte-rate', 'NaN', 'takes an amount'],
    ['byte-rate', 'Infinity', 'takes an amount'],
    ['byte-rate', '1e9MiB', 'takes an amount'],
    ['byte-rate', '0x10MiB', 'takes an amount'],
    ['byte-rate', '9999999999TiB', 'is more than can be kept'],
    ['byte-rate', '0.1B', 'is less than a byte'],
    ['byte-rate', '10MiB:5MiB', 'has a burst below its rate'],
    ['byte-rate', 'none:5MiB', 'has a burst and no rate'],
    ['byte-rate', '1MiB:5MiB/0s', 'has a burst of 1s to 24h'],
    ['byte-rate', '1MiB:5MiB/10', 'lasts for whole seconds'],
    ['byte-rate', '1MiB:5MiB:6MiB', 'RATE:BURST/LENGTH'],
    ['byte-rate', '1MiB:', 'takes a burst'],
    ['network-rate', '10Tbit', 'is more than can be kept'],
    ['network-burst', '64kbit', 'knows the units'],
    ['operation-rate', '10k', 'takes a whole number'],
    ['operation-rate', '1.5', 'takes a whole number'],
    ['packets', '99999999999', 'must be from 0 to 1000000000'],
    ['cores', '5000', 'must be from 0 to 4096'],
    ['cores', '-1', 'takes a number of cores'],
    ['cores', '150%', 'takes a number of cores'],
    ['cores', 'NaN', 'takes a number of cores'],
    ['time', '50', 'needs a unit'],
    ['time', '5h', 'knows the units us, ms and s'],
    ['time', '500s', 'must be 409.6 s at most'],
    ['size', '10X', 'knows the units M, G and T'],
    ['size', '512MB', 'write 512M'],
    ['swap', 'none', 'takes 0'],
    ['switch', 'yes', 'takes on or off'],
    ['weight', '10001', 'must be from 0 to 10000'],
    ['vcpus', '0', 'must be from 1 to 4096'],
    ['memory', '16M', 'must be from 32M'],
    ['restart', 'maybe', 'takes never, on-failure, always'],
  ])('of %s, %s, is refused: %s', (unit, text, reason) => {
    expect(() => parseLimit(unit, text)).toThrow(BadValue);
    expect(() => parseLimit(unit, text)).toThrow(reason);
  });

  it.each<[number, string]>([
    [12_500_000, '100Mbit'],
    [2_000_000, '16Mbit'],
    [10 * mib, '10MiB'],
    [125_000_000, '1Gbit'],
    [125, '1kbit'],
  ])('of %d bytes a second of a network is written as %s', (bytes, text) => {
    expect(limitText('network-rate', bytes)).toBe(text);
  });

  const whole = (max: number) => fc.integer({ min: 0, max });
  const rates = (max: number) =>
    fc
      .record({
        rate: fc.maxSafeInteger().map(Math.abs),
        burst: fc.maxSafeInteger().map(Math.abs),
        seconds: whole(86_400),
      })
      .map(({ rate, burst, seconds }): LimitValue => {
        const [low, high] = [Math.min(rate, burst, max), Math.min(Math.max(rate, burst), max)];
        if (low === 0 || seconds % 3 === 0) return { rate: low };
        return seconds % 3 === 1
          ? { rate: low, burst: high }
          : { rate: low, burst: high, burstSeconds: seconds };
      });
  const most = Number.MAX_SAFE_INTEGER;

  it.each<[Unit, fc.Arbitrary<LimitValue>]>([
    ['byte-rate', rates(most)],
    ['byte-rate', whole(10_000).map((n) => ({ rate: n * mib }))],
    ['byte-rate', whole(10_000).map((n) => ({ rate: n * 1_000_000 }))],
    ['operation-rate', rates(most)],
    ['network-rate', fc.bigInt(0n, 1_000_000_000_000n).map(Number)],
    ['network-rate', whole(100_000).map((n) => n * 125_000)],
    ['network-burst', fc.bigInt(0n, 4_000_000_000n).map(Number)],
    ['packets', whole(1_000_000_000)],
    ['cores', whole(4_096_000).map((n) => n / 1000)],
    ['time', whole(409_600_000).map((n) => n / 1000)],
    ['size', whole(67_108_864)],
    ['ceiling', fc.oneof(fc.constant('auto'), whole(68_000_000))],
    ['swap', whole(67_108_864)],
    ['weight', whole(10_000)],
    ['switch', fc.boolean()],
    ['memory', fc.integer({ min: 32, max: 67_108_864 })],
    ['vcpus', fc.integer({ min: 1, max: 4096 })],
  ])('of %s is read back as it was written', (unit, values) => {
    fc.assert(
      fc.property(values, (value) => {
        expect(parseLimit(unit, limitText(unit, value))).toEqual(value);
      }),
      { numRuns: 500 },
    );
  });

  it('is never anything but a value or refused, whatever is typed', () => {
    const units = Object.keys(unitTexts) as Unit[];
    const typed = fc.oneof(
      fc.string(),
      fc
        .tuple(fc.double(), fc.constantFrom('', 'X', 'M', 'MiB', 'Mbit', 'ms', '%'))
        .map(([n, unit]) => `${n}${unit}`),
    );
    fc.assert(
      fc.property(fc.constantFrom(...units), typed, (unit, text) => {
        try {
          const value = parseLimit(unit, text);
          const numbers = typeof value === 'object' ? Object.values(value) : [value];
          for (const number of numbers.filter((each) => typeof each === 'number'))
            expect(Number.isFinite(number) && number >= 0).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(BadValue);
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('has the examples of its unit in the help, which are all read', () => {
    const skipped: readonly string[] = ['text', 'optional-text', 'weight'];
    for (const unit of new Set(keySpecs.map((spec) => spec.unit))) {
      if (skipped.includes(unit)) continue;
      for (const example of unitTexts[unit].split(', '))
        expect(() => parseLimit(unit, example)).not.toThrow();
    }
  });
});
