import { describe, expect, it } from 'vitest';
import { createScopeControl, memoryFile, parseScopes } from './scope.ts';
import type { Systemctl } from './systemctl.ts';

const id = '01J9ZK3W8Y7Q5T2R4M6N8P0V1X';
const unit = `wirt-ab12-${id}.scope`;

/** systemd cannot be had in every test environment: this one answers as it would, from a table by verb. */
function systemd(answers: Record<string, string>, exitCode = 0): { run: Systemctl; calls: string[] } {
  const calls: string[] = [];
  return {
    calls,
    run: (args) => {
      calls.push(args.join(' '));
      return Promise.resolve({ exitCode, stdout: answers[args[0] ?? ''] ?? '', stderr: 'Access denied' });
    },
  };
}

const signal = new AbortController().signal;
const scopes = (systemctl: Systemctl) => createScopeControl({ tag: 'ab12', mounts: [], systemctl });

describe('a guest under systemd', () => {
  it('gets a scope of its own, which the launcher starts', async () => {
    const { run, calls } = systemd({});
    expect(await scopes(run).create(id)).toEqual({ joinFiles: [], scopeUnit: unit });
    expect(calls).toEqual([]);
  });

  it('is killed before its scope is stopped, and its failure is forgotten after', async () => {
    const { run, calls } = systemd({ show: 'ActiveState=inactive\nControlGroup=\nResult=success\n' });
    await scopes(run).remove(id, signal);
    expect(calls).toEqual([
      `kill --signal=SIGKILL -- ${unit}`,
      `stop -- ${unit}`,
      `reset-failed -- ${unit}`,
      `show --property=ActiveState,ControlGroup,Result -- ${unit}`,
    ]);
  });

  it('whose scope does not end makes removal fail and say so', async () => {
    const { run } = systemd({ show: 'ActiveState=deactivating\n' });
    await expect(scopes(run).remove(id, signal)).rejects.toMatchObject({
      code: 'host.cgroup_failed',
      cause: { message: 'the scope is deactivating' },
    });
  });

  it('is told from guests of a daemon whose tag begins the same', () => {
    const text = `  wirt-ab12-${id}.scope loaded active running Wirt guest\nwirt-ab12-c-${id}.scope loaded\nwirt-ab12-.scope x\n`;
    expect(parseScopes('ab12', text)).toEqual([id]);
  });

  it('that was killed for memory is known to be, after its group has gone', async () => {
    const { run } = systemd({ show: 'ActiveState=failed\nControlGroup=\nResult=oom-kill\n' });
    expect(await scopes(run).oomKills(id)).toBe(1);
    const { run: other } = systemd({ show: 'ActiveState=inactive\nControlGroup=\nResult=success\n' });
    expect(await scopes(other).oomKills(id)).toBe(0);
  });

  it('has its memory kills counted in its own group', () => {
    const v2 = { version: 'v2', mountPoint: '/cg', controllers: [], readOnly: false } as const;
    const v1 = { version: 'v1', mountPoint: '/cg/memory', controllers: ['memory'], readOnly: false } as const;
    expect(memoryFile([v2], `/system.slice/${unit}`)).toBe(`/cg/system.slice/${unit}/memory.events`);
    expect(memoryFile([v2, v1], '/a')).toBe('/cg/memory/a/memory.oom_control');
    expect(memoryFile([], '/a')).toBeUndefined();
  });

  it('cannot be listed when systemd refuses, and the error says where to look', async () => {
    await expect(scopes(systemd({}, 1).run).list()).rejects.toMatchObject({
      code: 'host.cgroup_failed',
      cause: { message: 'Access denied' },
    });
  });
});
