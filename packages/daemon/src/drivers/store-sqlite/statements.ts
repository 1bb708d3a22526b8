/** Every SQL statement that runs after opening, prepared once. */
import type { DatabaseSync } from 'node:sqlite';

export function prepareStatements(database: DatabaseSync) {
  const prepare = (sql: string) => database.prepare(sql);
  return {
    get: prepare('SELECT key, text, revision FROM records WHERE key = ?'),
    revisionOf: prepare('SELECT revision FROM records WHERE key = ?'),
    textOf: prepare('SELECT text FROM records WHERE key = ?'),
    list: prepare(`
      SELECT key, text, revision FROM records
      WHERE key >= max(:prefix, :from) AND (:end IS NULL OR key < :end)
      ORDER BY key LIMIT :limit`),
    put: prepare(`
      INSERT INTO records (key, text, revision, expires_at_ms, ttl_ms) VALUES (?, ?, ?, ?, ?)
      ON CONFLICT (key) DO UPDATE SET
        text = excluded.text, revision = excluded.revision,
        expires_at_ms = excluded.expires_at_ms, ttl_ms = excluded.ttl_ms`),
    remove: prepare('DELETE FROM records WHERE key = ?'),

    addChange: prepare(`
      INSERT INTO changes (seq, revision, at_ms, key, text, previous_text) VALUES (?, ?, ?, ?, ?, ?)`),
    firstChange: prepare('SELECT seq, revision FROM changes ORDER BY seq LIMIT 1'),
    lastChange: prepare('SELECT seq, revision FROM changes ORDER BY seq DESC LIMIT 1'),
    changeAt: prepare('SELECT seq, revision FROM changes WHERE seq = ?'),
    firstOfRevision: prepare('SELECT min(seq) AS seq FROM changes WHERE revision = ?'),
    firstAfterRevision: prepare('SELECT seq FROM changes WHERE revision > ? ORDER BY revision, seq LIMIT 1'),
    changesAfter: prepare(`
      SELECT seq, revision, at_ms, key, text, previous_text FROM changes
      WHERE seq > :seq AND key >= :from AND (:end IS NULL OR key < :end)
      ORDER BY seq`),
    prune: prepare('DELETE FROM changes WHERE seq < ?'),

    due: prepare('SELECT key FROM records WHERE expires_at_ms <= :now ORDER BY expires_at_ms LIMIT :limit'),
    nextExpiry: prepare('SELECT min(expires_at_ms) AS at FROM records WHERE expires_at_ms IS NOT NULL'),
    clampExpiry: prepare(
      'UPDATE records SET expires_at_ms = :now + ttl_ms WHERE expires_at_ms > :now + ttl_ms',
    ),
  };
}
