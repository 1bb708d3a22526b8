/**
 * Settings of the host that are not ours, and what they were before we changed them: written down first, so that they are put back also by
 * a daemon that did not change them itself. In the run directory, which a boot empties as it does the settings.
 */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { writeFileAtomically } from '../../platform/atomic-file.ts';

/** By the setting's name (`net/ipv4/ip_forward`), what it was. */
export type Remembered = Readonly<Record<string, string>>;

export interface HostSettings {
  read(name: string): Promise<string | undefined>;
  /** Sets and remembers; where it is so already, neither. Returns whether it was otherwise. */
  set(values: Readonly<Record<string, string>>): Promise<boolean>;
  /** Without remembering: for what goes away by itself. Missing ones are passed over. */
  setOwn(values: Readonly<Record<string, string>>): Promise<void>;
  remembered(): Promise<Remembered>;
  /** Puts back what `which` says, in the order in which it was set. */
  putBack(which: (name: string) => boolean): Promise<void>;
}

const pathOf = (name: string): string => `/proc/sys/${name}`;

export function createHostSettings(file: string): HostSettings {
  let known: Record<string, string> | undefined;

  async function load(): Promise<Record<string, string>> {
    if (known !== undefined) return known;
    const text = await readFile(file, 'utf8').catch(() => '{}');
    known = parse(text);
    return known;
  }
  async function save(next: Record<string, string>): Promise<void> {
    known = next;
    if (Object.keys(next).length === 0) return await rm(file, { force: true });
    await mkdir(dirname(file), { recursive: true, mode: 0o711 });
    await writeFileAtomically(file, JSON.stringify(next), { mode: 0o600 });
  }
  const read = async (name: string): Promise<string | undefined> =>
    (await readFile(pathOf(name), 'utf8').catch(() => undefined))?.trim();

  return {
    read,
    async set(values) {
      const before = await load();
      const next = { ...before };
      const changed: [string, string][] = [];
      for (const [name, value] of Object.entries(values)) {
        const old = await read(name);
        if (old === undefined || old === value) continue;
        changed.push([name, value]);
        next[name] ??= old;
      }
      if (changed.length === 0) return false;
      if (Object.keys(next).length > Object.keys(before).length) await save(next);
      for (const [name, value] of changed) await writeFile(pathOf(name), value);
      return true;
    },
    async setOwn(values) {
      await Promise.all(
        Object.entries(values).map(([name, value]) => writeFile(pathOf(name), value).catch(() => undefined)),
      );
    },
    remembered: load,
    async putBack(which) {
      const before = await load();
      const kept: Record<string, string> = {};
      for (const [name, value] of Object.entries(before)) {
        if (!which(name)) kept[name] = value;
        // What went away meanwhile, an interface, needs nothing put back.
        else await writeFile(pathOf(name), value).catch(() => undefined);
      }
      if (Object.keys(kept).length !== Object.keys(before).length) await save(kept);
    },
  };
}

function parse(text: string): Record<string, string> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null) return {};
    // A name that leaves its place was not written by us.
    return Object.fromEntries(
      Object.entries(value).filter(
        ([name, each]) => /^net\/[\w./:@-]+$/.test(name) && !name.includes('..') && typeof each === 'string',
      ),
    );
  } catch {
    return {};
  }
}
