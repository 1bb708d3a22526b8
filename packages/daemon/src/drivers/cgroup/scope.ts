// ResourceControl under systemd, which owns the control group tree: each guest is in a transient scope that the
// launcher starts it in, named after this daemon and the guest. Here scopes are found, read and ended; scope-limits.ts limits them.
import { readFile } from 'node:fs/promises';
import { posix } from 'node:path';
import { WirtError } from '@wirt/api';
import type { ResourceControl } from '@wirt/core';
import type { CgroupMount } from '../../platform/cgroup-mounts.ts';
import { isSafeName, parseOomKills } from './layout.ts';
import { spareDescriptors } from './open-files.ts';
import { createScopeLimits } from './scope-limits.ts';
import { runSystemctl, type Systemctl } from './systemctl.ts';
import { createUsageReader } from './usage.ts';

export interface ScopeOptions {
  readonly tag: string;
  readonly mounts: readonly CgroupMount[];
  /** Runs systemctl with these arguments; replaced in tests, since systemd cannot be had everywhere. */
  readonly systemctl?: Systemctl;
  readonly procRoot?: string;
  readonly sysBlock?: string;
  /** How long systemd may take to put a property in force. */
  readonly applyTimeoutMs?: number;
}

export function scopeName(tag: string, id: string): string {
  return `wirt-${tag}-${id}.scope`;
}

/** Ids in the output of `systemctl list-units --plain --no-legend`. */
export function parseScopes(tag: string, text: string): string[] {
  const prefix = `wirt-${tag}-`;
  return text.split('\n').flatMap((line) => {
    const unit = line.trim().split(/\s+/)[0] ?? '';
    if (!unit.startsWith(prefix) || !unit.endsWith('.scope')) return [];
    const id = unit.slice(prefix.length, -'.scope'.length);
    return isSafeName(id) && !id.includes('-') ? [id] : [];
  });
}

/** `Key=value` lines of `systemctl show`. */
export function parseProperties(text: string): ReadonlyMap<string, string> {
  const pairs = text.split('\n').filter((line) => line.includes('='));
  return new Map(pairs.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
}

/**
 * As ResourceControl says, but for `limit` without a process: systemd-run makes the scope together with the process, so before that there is
 * nothing to limit. What this host cannot keep is refused then too, and the rest is not set: limit again with the process once it is there.
 */
export function createScopeControl(options: ScopeOptions): ResourceControl {
  const { tag, mounts, systemctl = runSystemctl, procRoot = '/proc', sysBlock = '/sys/block' } = options;
  const unitOf = (id: string): string => {
    if (!isSafeName(id)) throw new WirtError('host.cgroup_failed', `'${id}' cannot name a scope.`);
    return scopeName(tag, id);
  };
  const show = async (unit: string, signal?: AbortSignal) => {
    const { stdout } = await systemctl(
      ['show', '--property=ActiveState,ControlGroup,Result', '--', unit],
      signal,
    );
    return parseProperties(stdout);
  };
  const limiting = createScopeLimits({
    mounts,
    procRoot,
    sysBlock,
    systemctl,
    unitOf,
    controlGroupOf: async (unit) => (await show(unit)).get('ControlGroup') || undefined,
    ...(options.applyTimeoutMs !== undefined && { applyTimeoutMs: options.applyTimeoutMs }),
  });
  const usage = createUsageReader({ procRoot, descriptors: spareDescriptors(), placesOf: limiting.placesOf });

  return {
    limit: limiting.limit,
    limits: limiting.limits,
    refuses: limiting.refuses,
    usage: usage.read,

    async create(id) {
      usage.forget(id);
      return { joinFiles: [], scopeUnit: unitOf(id) };
    },

    async remove(id, signal) {
      const unit = unitOf(id);
      usage.forget(id);
      try {
        // SIGKILL first: `stop` alone asks politely and waits a minute and a half. All three find no unit when it is gone.
        await systemctl(['kill', '--signal=SIGKILL', '--', unit], signal);
        await systemctl(['stop', '--', unit], signal);
        // A scope whose process was killed for memory is kept as failed, for oomKills, until now.
        await systemctl(['reset-failed', '--', unit], signal);
        const state = (await show(unit, signal)).get('ActiveState') ?? 'inactive';
        if (state !== 'inactive') throw new Error(`the scope is ${state}`);
      } catch (cause) {
        signal.throwIfAborted();
        throw new WirtError('host.cgroup_failed', `The scope of ${id} could not be ended.`, {
          cause,
          hint: `See \`systemctl status ${unit}\`.`,
        });
      }
    },

    async list() {
      const args = ['list-units', '--all', '--plain', '--no-legend', '--type=scope', '--', `wirt-${tag}-*`];
      try {
        const { exitCode, stdout, stderr } = await systemctl(args);
        if (exitCode !== 0) throw new Error(stderr.trim());
        return parseScopes(tag, stdout).toSorted();
      } catch (cause) {
        throw new WirtError('host.cgroup_failed', 'The scopes of guests could not be listed.', {
          cause,
          hint: 'See `systemctl list-units --type=scope`.',
        });
      }
    },

    async oomKills(id) {
      const properties = await show(unitOf(id));
      const group = properties.get('ControlGroup') ?? '';
      const file = group === '' ? undefined : memoryFile(mounts, group);
      const text = file === undefined ? '' : await readFile(file, 'utf8').catch(() => '');
      // The group goes with its last process; systemd remembers why it ended.
      return parseOomKills(text) || (properties.get('Result') === 'oom-kill' ? 1 : 0);
    },
  };
}

/** Where the kernel counts for a group: v1's memory hierarchy where there is one, else v2. */
export function memoryFile(mounts: readonly CgroupMount[], group: string): string | undefined {
  const v1 = mounts.find(({ controllers }) => controllers.includes('memory'));
  if (v1 !== undefined) return posix.join(v1.mountPoint, group, 'memory.oom_control');
  const v2 = mounts.find(({ version }) => version === 'v2');
  return v2 === undefined ? undefined : posix.join(v2.mountPoint, group, 'memory.events');
}
