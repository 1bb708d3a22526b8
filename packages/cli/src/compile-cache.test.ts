import { describe, expect, it } from 'vitest';
import { compileCacheFolder } from './compile-cache.ts';

describe('the compile cache', () => {
  it('is in the cache folder of the user', () => {
    expect(compileCacheFolder(1000, { XDG_CACHE_HOME: '/c', HOME: '/h' })).toBe('/c/wirt/node');
    expect(compileCacheFolder(1000, { HOME: '/h' })).toBe('/h/.cache/wirt/node');
  });

  it('is nowhere rather than in a place that depends on the working directory', () => {
    expect(compileCacheFolder(1000, { XDG_CACHE_HOME: 'c' })).toBeUndefined();
    expect(compileCacheFolder(1000, {})).toBeUndefined();
  });

  it('of root is root’s, whatever the environment says', () => {
    expect(compileCacheFolder(0, { XDG_CACHE_HOME: '/c', HOME: '/h' })).toBe('/var/cache/wirt/node');
  });
});
