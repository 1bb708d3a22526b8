import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { completionScripts, shells } from '../completion-scripts.ts';
import { anInstance, runWirt, startScriptedDaemon } from '../scripted-daemon.ts';
import { anInstanceWithDisks, aSecurityGroup } from '../scripted-records.ts';

describe('wirt complete', () => {
  it('offers names live from the daemon, with what they are', async () => {
    await using daemon = await startScriptedDaemon({
      'GET /v1/instances': () => ({ json: { items: [anInstance] } }),
    });
    const { code, stdout } = await runWirt(['complete', '--', 'show', 'd'], { daemon });
    expect([code, stdout]).toEqual([0, 'demo\trunning, micro\n']);
    expect(daemon.asked[0]?.query).toMatchObject({ name: 'd' });
  });

  it('offers the cards of instances, and the rules of a group', async () => {
    await using daemon = await startScriptedDaemon({
      'GET /v1/instances': () => ({ json: { items: [anInstance] } }),
      'GET /v1/security-groups/web': () => ({ json: aSecurityGroup }),
    });
    const cards = await runWirt(['complete', '--', 'network', 'publish', 'demo/n'], { daemon });
    expect(cards.stdout).toBe('demo/nic0\tdefault\n');
    expect(daemon.asked[0]?.query).toMatchObject({ name: 'demo' });
    const rules = await runWirt(['complete', '--', 'security-group', 'revoke', 'web', ''], { daemon });
    expect(rules.stdout).toContain('01KATESTTESTTESTTESTTESTR2\tingress 80/tcp from anybody\n');
  });

  it('offers the keys of the disks and cards that the instance has', async () => {
    await using daemon = await startScriptedDaemon({
      'GET /v1/instances/demo': () => ({ json: anInstanceWithDisks }),
      'GET /v1/policies': () => ({ json: { items: [{ name: 'gold', spec: { description: 'Paying' } }] } }),
    });
    const disks = await runWirt(['complete', '--', 'set', 'demo', 'disk.disk1.total'], { daemon });
    expect(disks.stdout).toMatch(/^disk\.disk1\.total=\tBytes read .*\ndisk\.disk1\.total-ops=\t.*\n$/);
    const policies = await runWirt(['complete', '--', 'set', 'demo', 'policy=g'], { daemon });
    expect(policies.stdout).toBe('policy=gold\tPaying\n');
  });

  it('asks the daemon that the command line names', async () => {
    await using daemon = await startScriptedDaemon({
      'GET /v1/instances': () => ({ json: { items: [anInstance] } }),
    });
    const words = ['stop', '--socket', daemon.socketPath, ''];
    expect((await runWirt(['complete', '--', ...words])).stdout).toBe('demo\trunning, micro\n');
  });

  it('offers nothing, and says nothing, when the daemon is not there or does not answer', async () => {
    const quiet = { code: 0, stdout: '', stderr: '' };
    expect(await runWirt(['complete', '--', 'show', '--socket', '/nowhere/s', ''])).toEqual(quiet);
    await using daemon = await startScriptedDaemon({ 'GET /v1/instances': () => undefined });
    expect(await runWirt(['complete', '--', 'show', ''], { daemon })).toEqual(quiet);
  });
});

describe('wirt completion', () => {
  it.each(shells)('prints the script of %s', async (shell) => {
    const { code, stdout } = await runWirt(['completion', shell]);
    expect([code, stdout]).toEqual([0, completionScripts[shell]]);
    expect(stdout).toContain('wirt complete -- ');
    expect(stdout).not.toMatch(/\beval "\$[^(]/);
  });

  describe('in bash', () => {
    let folder: string;
    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), 'wirt-bash-'));
      // Answers as wirt would, with the words that it was given.
      writeFileSync(
        join(folder, 'wirt'),
        '#!/bin/sh\nprintf "%s\\n" "$@" > "$0.args"\nprintf "demo\\tit runs\\ndb-1\\t\\n"\n[ "$3" = cp ] && printf ":files\\n"\nexit 0\n',
      );
      chmodSync(join(folder, 'wirt'), 0o755);
    });
    afterEach(() => rmSync(folder, { recursive: true }));

    function complete(words: readonly string[]): { replies: string[]; given: string[] } {
      const quoted = words.map((word) => `'${word}'`).join(' ');
      const script = `
        compopt() { :; }
        ${completionScripts.bash}
        cd ${folder}
        COMP_WORDS=(wirt ${quoted}); COMP_CWORD=${words.length}
        _wirt
        printf '%s\\n' "\${COMPREPLY[@]}"; echo --; cat wirt.args`;
      const { stdout, stderr } = spawnSync('bash', ['--norc', '-c', script], {
        encoding: 'utf8',
        env: { PATH: `${folder}:${process.env['PATH']}` },
      });
      expect(stderr).toBe('');
      const [replies = '', given = ''] = stdout.split('--\ncomplete\n--\n');
      return { replies: replies.trim().split('\n'), given: given.replace(/\n$/, '').split('\n') };
    }

    it('completes with what wirt answers', () => {
      expect(complete(['show', ''])).toEqual({ replies: ['demo', 'db-1'], given: ['show', ''] });
    });

    it('adds file names where wirt asks for them', () => {
      expect(complete(['cp', 'w']).replies).toEqual(['demo', 'db-1', 'wirt', 'wirt.args']);
    });

    it('evaluates nothing that was typed', () => {
      const word = `$(touch ${'x'})`;
      expect(complete(['show', word, '`touch x`', '']).given).toEqual(['show', word, '`touch x`', '']);
      expect(complete(['cp', '']).replies).not.toContain('x');
    });
  });
});
