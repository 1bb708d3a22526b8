import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { catalogue } from './catalogue.ts';
import type { Command } from './command.ts';
import { parseCommand } from './parse.ts';
import { outputKinds } from './print.ts';
import { anInstance, problem, runWirt, startScriptedDaemon } from './scripted-daemon.ts';
import { version } from './version.ts';

const all: readonly (readonly [string, Command])[] = await Promise.all(
  catalogue.map(async ({ name, load }) => {
    const command = (await load()).commands[name];
    if (command === undefined) throw new Error(`${name} has no command`);
    return [name, command] as const;
  }),
);

describe.each(all)('wirt %s', (name, command) => {
  it('shows one to three examples in its help, which are command lines of its own', async () => {
    const { code, stdout, stderr } = await runWirt([...name.split(' '), '--help']);
    expect([code, stderr]).toEqual([0, '']);
    expect(command.examples.length).toBeGreaterThanOrEqual(1);
    expect(command.examples.length).toBeLessThanOrEqual(3);
    for (const { line, does } of command.examples) {
      expect(stdout).toContain(line);
      expect(stdout).toContain(does);
      expect(line).toMatch(new RegExp(`\\bwirt ${name}\\b`));
    }
    expect((await runWirt(['help', ...name.split(' ')])).stdout).toBe(stdout);
  });

  it('shows every option and argument in its help', async () => {
    const { stdout } = await runWirt([...name.split(' '), '-h']);
    for (const option of Object.keys(command.options)) expect(stdout).toContain(`--${option}`);
    for (const argument of Object.keys(command.arguments)) expect(stdout).toContain(argument.toUpperCase());
  });

  it('takes every --output and refuses others', () => {
    for (const output of outputKinds) {
      expect(parseCommand(name, command, ['--help', '--output', output]).output).toBe(output);
      expect(parseCommand(name, command, ['--help', '-o', output]).output).toBe(output);
    }
    expect(() => parseCommand(name, command, ['--help', '-o', 'jsno'])).toThrow('did you mean json?');
  });

  it('has examples that its own parser takes', () => {
    for (const { line } of command.examples) {
      const own =
        line.slice(line.lastIndexOf(`wirt ${name}`) + `wirt ${name}`.length).split(/ [<>|] /)[0] ?? '';
      const words = own.match(/'[^']*'|[^\s]+/g)?.map((word) => word.replaceAll(/^'|'$|[)"]+$/g, '')) ?? [];
      // An example with xargs gets its names from there.
      const given = line.includes('xargs') ? [...words, 'x'] : words;
      expect(() => parseCommand(name, command, given)).not.toThrow();
    }
  });
});

describe('wirt', () => {
  it('lists every command by itself, with `help` and with `--help`', async () => {
    const { code, stdout } = await runWirt([]);
    expect(code).toBe(0);
    for (const { name, summary, hidden } of catalogue) {
      if (hidden !== true) expect(stdout).toContain(`  ${name}`);
      if (hidden !== true) expect(stdout).toContain(summary);
    }
    expect(stdout).not.toContain('Answer a completion script');
    expect((await runWirt(['help'])).stdout).toBe(stdout);
    expect((await runWirt(['--help'])).stdout).toBe(stdout);
  });

  it('has the version of its package', async () => {
    const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
      version: string;
    };
    expect(version).toBe(manifest.version);
    expect(await runWirt(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
  });

  it.each([
    [['rnu'], 'wirt has no command "rnu".', 'Did you mean `wirt run`?'],
    [['list'], 'wirt has no command "list".', 'Did you mean `wirt ls`?'],
    [['images'], 'wirt has no command "images".', 'Did you mean `wirt image ls`?'],
    [['constructor'], 'wirt has no command "constructor".', 'See `wirt help`.'],
    [['disk', 'ls'], 'wirt has no command "disk".', 'Did you mean `wirt volume`?'],
    [['volume', 'list'], 'wirt has no command "volume list".', 'Did you mean `wirt volume ls`?'],
    [['volume', 'create', 'x', '--size', '10GB'], '--size counts in powers of 1024', 'See'],
    [['ssh', 'demo', 'ls', '-X'], '"-X" is no option of wirt ssh.', 'Put -- before the command'],
    [['image', 'bild'], 'wirt has no command "image bild".', 'Did you mean `wirt image build`?'],
    [
      ['image'],
      'wirt image needs a command: ls, show, build, import, pull, export, rm.',
      'See `wirt help image`.',
    ],
    [['--verbos', 'ls'], '"--verbos" is no option of wirt.', 'See `wirt help`.'],
    [['ls', '--stat', 'running'], '"--stat" is no option of wirt ls.', 'Did you mean --state?'],
    [['ls', '--constructor'], '"--constructor" is no option of wirt ls.', 'See `wirt ls --help`.'],
    [['ls', '--state', 'runing'], '--state takes stopped', '(did you mean running?)'],
    [['ls', '--state'], '--state needs a value', 'See `wirt ls --help`.'],
    [['ls', '--limit', '0'], '--limit must be from 1 to 1000000, and is 0.', 'See'],
    [['ls', '--all=yes'], '--all is a switch and takes no value.', 'See'],
    [['ls', '--state', 'running', '--state', 'paused'], '--state was given 2 times', 'See'],
    [['ls', 'demo'], 'wirt ls takes no further argument "demo".', 'See'],
    [['show'], 'wirt show needs NAME: Name or id of the instance.', 'See'],
    [['show', ''], 'NAME must not be empty.', 'See'],
    [['run', 'micro', '--memory', '5'], '--memory needs a unit: 5M or 5G.', 'See'],
    [['run', 'micro', '--label', 'x'], '--label takes KEY=VALUE, and not "x".', 'See'],
    [['run', 'micro', '--cpus', '-4'], '--cpus needs a value', 'See'],
    [['exec', 'demo', 'ls', '-l'], '"-l" is no option of wirt exec.', 'Put -- before the command'],
    [['completion', 'tcsh'], 'SHELL is bash, zsh, fish, and not "tcsh".', 'See'],
  ])('refuses %j with the reason and a way out', async (argv, reason, hint) => {
    const { code, stdout, stderr } = await runWirt(argv);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain(`wirt: ${reason}`);
    expect(stderr).toContain(hint);
  });

  it('takes the options of every command before the command too', async () => {
    await using daemon = await startScriptedDaemon({
      'GET /v1/instances': () => ({ json: { items: [anInstance] } }),
    });
    const { code, stdout } = await runWirt(['--socket', daemon.socketPath, '-o', 'name', 'ls']);
    expect([code, stdout]).toEqual([0, 'demo\n']);
  });
});

describe('an error', () => {
  const refused = () =>
    problem(409, 'instance.state_conflict', 'Instance demo is \x1b[2Jrunning.', {
      cause: 'because\nso',
      hint: 'Try `wirt stop demo`.',
      details: { state: 'running' },
    });

  it('is printed with cause and hint, and cannot act on the terminal', async () => {
    await using daemon = await startScriptedDaemon({ 'POST /v1/instances/demo/start': refused });
    expect(await runWirt(['start', 'demo'], { daemon })).toEqual({
      code: 4,
      stdout: '',
      stderr: [
        'wirt: Instance demo is \\x1b[2Jrunning.',
        '  cause: because\\nso',
        '  hint: Try `wirt stop demo`.',
        '',
      ].join('\n'),
    });
  });

  it('is a problem for programs with --output json', async () => {
    await using daemon = await startScriptedDaemon({ 'POST /v1/instances/demo/start': refused });
    const { code, stdout, stderr } = await runWirt(['start', 'demo', '-o', 'json'], { daemon });
    expect([code, stdout]).toEqual([4, '']);
    expect(JSON.parse(stderr)).toMatchObject({
      code: 'instance.state_conflict',
      status: 409,
      detail: 'Instance demo is \x1b[2Jrunning.',
      cause: 'because\nso',
      hint: 'Try `wirt stop demo`.',
      details: { state: 'running' },
    });
  });

  it('of a daemon that is not there names the socket and how to start it', async () => {
    const { code, stderr } = await runWirt(['ls', '--socket', '/nowhere/wirtd.sock']);
    expect(code).toBe(5);
    expect(stderr).toContain('No wirtd listens on /nowhere/wirtd.sock.');
    expect(stderr).toContain('systemctl start wirtd');
  });

  it('of a wrong usage is JSON too when that was asked for', async () => {
    const { code, stderr } = await runWirt(['ls', '--limit', 'x', '--output=json']);
    expect(code).toBe(2);
    expect(JSON.parse(stderr)).toMatchObject({ code: 'request.invalid', status: 400 });
  });
});
