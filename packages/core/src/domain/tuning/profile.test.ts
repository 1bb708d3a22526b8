// What the profiles promise in one word each, held against each other.
import { tuningProfiles } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { pageSizesKib, pageSizeText, profileOf, profiles } from './profile.ts';

describe('a profile', () => {
  it('is balanced where nothing is said, also where other things are', () => {
    expect(profileOf(undefined)).toBe(profiles.balanced);
    expect(profileOf({ hugePages: '2M' })).toBe(profiles.balanced);
    expect(profileOf({ profile: 'density' })).toBe(profiles.density);
  });

  it.each(tuningProfiles)('has a reason of its own for each thing that it sets: %s', (name) => {
    const reasons = Object.values(profiles[name].why);
    expect(new Set(reasons).size).toBe(6);
    for (const reason of reasons) expect(reason).toMatch(/^[A-Z].{20,}\.$/);
  });

  it('gives nobody alone what others would have to do without, but for latency', () => {
    const greedy = tuningProfiles.filter((name) => {
      const { dedicated, hugePages } = profileOf({ profile: name });
      return dedicated || hugePages !== 'none';
    });
    expect(greedy).toEqual(['latency']);
  });

  it('merges and gives back only pages that are small', () => {
    for (const { mergeable, freePageReporting, hugePages } of Object.values(profiles))
      if (mergeable || freePageReporting) expect(hugePages).toBe('none');
    expect(profiles.density).toMatchObject({ mergeable: true, freePageReporting: true });
  });
});

describe('a size of pages', () => {
  it('reads as it is asked for', () => {
    for (const [text, sizeKib] of Object.entries(pageSizesKib)) expect(pageSizeText(sizeKib)).toBe(text);
  });
});
