import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { closeDatabase, openDatabase } from './database.ts';
import { Engine } from './engine.ts';

const HOUR_MS = 3_600_000;

describe('the expiry of records, whatever happens to the wall clock', () => {
  let directory: string;
  let database: DatabaseSync | undefined;
  let engine: Engine;
  const time = { wallMs: 0, monotonicMs: 0 };

  const open = (): void => {
    const opened = openDatabase(directory);
    if (opened.type === 'failed') throw new Error(opened.failure.message);
    database = opened.database;
    const clock = { wallMs: () => time.wallMs, monotonicMs: () => time.monotonicMs };
    engine = new Engine({ database, directory, keepChanges: 100, clock });
  };
  const close = (): void => {
    if (database) closeDatabase(database, directory);
    database = undefined;
  };
  const pass = (ms: number): void => {
    time.wallMs += ms;
    time.monotonicMs += ms;
  };
  const put = (ttlMs: number): void => {
    engine.commit([[{ key: 'a', text: '1', ifRevision: undefined, ttlMs }]]);
  };
  const expired = (): boolean => {
    engine.expire();
    return engine.get('a') === undefined;
  };

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'wirt-engine-'));
    time.wallMs = Date.UTC(2026, 10, 1);
    time.monotonicMs = 5_000;
    open();
  });

  afterEach(() => {
    close();
    rmSync(directory, { recursive: true, force: true });
  });

  it('is neither early nor late when the clock is set back or forward meanwhile', () => {
    for (const jumpMs of [-24 * HOUR_MS, 24 * HOUR_MS]) {
      put(HOUR_MS);
      time.wallMs += jumpMs;
      pass(HOUR_MS - 1);
      expect(expired()).toBe(false);
      expect(engine.nextExpiryMs()).toBe(1);
      pass(1);
      expect(expired()).toBe(true);
    }
  });

  it('counts the time while the store was closed', () => {
    put(HOUR_MS);
    close();
    pass(HOUR_MS / 2);
    open();
    expect(engine.nextExpiryMs()).toBe(HOUR_MS / 2);
  });

  it('adds at most the time of the record when the clock was set back while the store was closed', () => {
    put(HOUR_MS);
    close();
    time.wallMs -= 1_000 * HOUR_MS;
    open();
    expect(engine.nextExpiryMs()).toBe(HOUR_MS);
    pass(HOUR_MS);
    expect(expired()).toBe(true);
  });

  it('has no next one when no record ever expires', () => {
    expect(engine.nextExpiryMs()).toBeUndefined();
  });
});
