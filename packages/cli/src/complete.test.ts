import { describe, expect, it } from 'vitest';
import { catalogue } from './catalogue.ts';
import { complete, type NameSource } from './complete.ts';

const names: NameSource = (kind, _prefix, of) => {
  const found = {
    instance: ['demo', 'db-1', '$(reboot)', 'x y'],
    image: ['micro'],
    volume: ['data'],
    pool: ['default', 'fast'],
    snapshot: of === undefined ? [] : [`before-${of}`],
    network: ['default', 'lan'],
    nic: ['demo/nic0', 'demo/nic0;reboot', 'db-1/nic0'],
    'security-group': ['default', 'web'],
    rule: of === undefined ? [] : [`rule-of-${of}`],
    part: of === undefined ? [] : ['disk.root', 'disk.x;y', 'network.nic0'],
    policy: ['gold', 'x y'],
    operation: ['01KA'],
  }[kind];
  return Promise.resolve(found.map((value) => ({ value, description: '' })));
};

async function completed(...words: string[]): Promise<string[]> {
  const { candidates, files } = await complete(catalogue, words, names);
  return [...candidates.map(({ value }) => value), ...(files ? [':files'] : [])];
}

describe('completion', () => {
  it('offers commands, and what is below them', async () => {
    expect(await completed('')).toEqual(expect.arrayContaining(['run', 'ls', 'image', 'host', 'operation']));
    expect(await completed('')).not.toContain('complete');
    expect(await completed('re')).toEqual(['restart', 'reset', 'resume', 'rename']);
    expect(await completed('image', '')).toEqual(['ls', 'show', 'build', 'import', 'pull', 'export', 'rm']);
    expect(await completed('host', '')).toEqual(
      expect.arrayContaining(['check', 'capacity', 'topology', 'settings', 'set', 'device']),
    );
    expect(await completed('host', 'device', '')).toEqual(['ls', 'show', 'create-vfs', 'remove-vfs']);
    expect(await completed('host', 'device', 'x', '')).toEqual([]);
    expect(await completed('host', 'set', 'mem')).toEqual(['memory-overcommit=']);
    expect(await completed('--socket', '/x', 'sh')).toEqual(['show']);
  });

  it('offers the options of the command and of every command', async () => {
    expect(await completed('stop', '--')).toEqual(
      expect.arrayContaining(['--force', '--acpi', '--grace', '--no-wait', '--output', '--socket', '--help']),
    );
    expect(await completed('run', '--mem')).toEqual(['--memory']);
    expect(await completed('--out')).toEqual(['--output']);
  });

  it('offers the choices of an option, in both spellings and as bash splits them', async () => {
    const kinds = ['table', 'json', 'yaml', 'name'];
    expect(await completed('ls', '--output', '')).toEqual(kinds);
    expect(await completed('ls', '-o', 'j')).toEqual(['json']);
    expect(await completed('ls', '--output=j')).toEqual(['--output=json']);
    expect(await completed('ls', '--output', '=', 'j')).toEqual(['json']);
    expect(await completed('ls', '--output', '=')).toEqual(kinds);
    expect(await completed('run', '--restart', 'on')).toEqual(['on-failure']);
  });

  it('offers keys of limits, their values where they are words, and in a policy only those that it can have', async () => {
    expect(await completed('set', 'demo', 'cpu.')).toEqual(['cpu.cores=', 'cpu.weight=', 'cpu.burst=']);
    expect(await completed('set', 'demo', 'cpu.cores=2', 'polic')).toEqual(['policy=']);
    expect(await completed('set', 'demo', 'disk.root.w')).toEqual([
      'disk.root.write=',
      'disk.root.write-ops=',
    ]);
    expect(await completed('set', 'demo', 'network.nic0.egress-p')).toEqual(['network.nic0.egress-packets=']);
    expect(await completed('set', 'demo', 'disk.x')).toEqual([]);
    expect(await completed('set', 'demo', 'policy=g')).toEqual(['policy=gold']);
    expect(await completed('set', 'demo', 'memory.ceiling=')).toEqual([
      'memory.ceiling=auto',
      'memory.ceiling=none',
    ]);
    expect(await completed('set', 'demo', 'hug')).toEqual(['hugepages=']);
    expect(await completed('set', 'demo', 'pin')).toEqual(['pin.emulator=', 'pin.iothreads=']);
    expect(await completed('set', 'demo', 'hugepages=')).toEqual([
      'hugepages=none',
      'hugepages=2M',
      'hugepages=1G',
    ]);
    expect(await completed('set', 'demo', 'dedicated=y')).toEqual(['dedicated=yes']);
    expect(await completed('policy', 'create', 'gold', 'cpu')).not.toContain('cpus=');
    expect(await completed('policy', 'create', 'gold', 'cpu.c')).toEqual(['cpu.cores=']);
    expect(await completed('policy', 'show', '')).toEqual(['gold']);
    expect(await completed('run', '--policy', 'g')).toEqual(['gold']);
    expect(await completed('run', '--set', 'cpu.c')).toEqual(['cpu.cores=']);
  });

  it('offers the value of a key as bash splits it', async () => {
    expect(await completed('set', 'demo', 'policy', '=', 'g')).toEqual(['gold']);
    expect(await completed('set', 'demo', 'policy', '=')).toEqual(['gold']);
    expect(await completed('set', 'demo', 'autostart', '=', 'o')).toEqual(['on', 'off']);
    expect(await completed('set', 'demo', 'cpus', '=', '2', 'autostart', '=', '')).toEqual(['on', 'off']);
  });

  it('offers names from the daemon where they fit, each once', async () => {
    expect(await completed('show', '')).toEqual(['demo', 'db-1']);
    expect(await completed('show', 'de')).toEqual(['demo']);
    expect(await completed('show', 'demo', '')).toEqual([]);
    expect(await completed('rm', '--force', 'demo', '')).toEqual(['db-1']);
    expect(await completed('run', '')).toEqual(['micro']);
    expect(await completed('run', '--cpus', '2', '')).toEqual(['micro']);
    expect(await completed('operation', 'show', '')).toEqual(['01KA']);
    expect(await completed('ls', '--image', '')).toEqual(['micro']);
    expect(await completed('volume', 'attach', '')).toEqual(['data']);
    expect(await completed('volume', 'attach', 'data', 'd')).toEqual(['demo', 'db-1']);
    expect(await completed('run', '--pool', 'f')).toEqual(['fast']);
    expect(await completed('run', '--disk', '')).toEqual([]);
  });

  it('offers the snapshots of the instance that was named before', async () => {
    expect(await completed('snapshot', 'restore', '')).toEqual(['demo', 'db-1']);
    expect(await completed('snapshot', 'restore', 'demo', '')).toEqual(['before-demo']);
    expect(await completed('snapshot', 'rm', 'db-1', '--timeout', '5', '')).toEqual(['before-db-1']);
  });

  it('offers networks, cards, security groups, and the rules of the group that was named before', async () => {
    expect(await completed('run', 'micro', '--network', 'l')).toEqual(['lan']);
    expect(await completed('run', '--group', '')).toEqual(['default', 'web']);
    expect(await completed('network', 'attach', 'de')).toEqual(['demo']);
    expect(await completed('network', 'attach', 'demo', '')).toEqual(['default', 'lan']);
    expect(await completed('network', 'detach', 'demo/')).toEqual(['demo/nic0']);
    expect(await completed('network', 'groups', 'demo/nic0', 'default', '')).toEqual(['web']);
    expect(await completed('network', 'trace', 'demo', '')).toEqual(['db-1']);
    expect(await completed('security-group', 'allow', 'web', '--from', 'w')).toEqual(['web']);
    expect(await completed('security-group', 'revoke', 'web', '')).toEqual(['rule-of-web']);
  });

  it('never offers a name that means something to a shell', async () => {
    expect(await completed('rm', '')).not.toContain('$(reboot)');
    expect(await completed('rm', '')).not.toContain('x y');
  });

  it('offers guests and files for cp, files for the socket, and nothing behind --', async () => {
    expect(await completed('cp', 'de')).toEqual(['demo:', ':files']);
    expect(await completed('cp', './a', './')).toEqual([':files']);
    expect(await completed('ls', '--socket', '')).toEqual([':files']);
    expect(await completed('exec', 'demo', '--', '')).toEqual([]);
    expect(await completed('completion', '')).toEqual(['bash', 'zsh', 'fish']);
    expect(await completed('frobnicate', '')).toEqual([]);
  });
});
