import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { anInstance, problem, runWirt, type Script, startScriptedDaemon } from '../scripted-daemon.ts';
import { aDiskImage, anInstanceWithDisks } from '../scripted-records.ts';

const key = `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI${'a1+/'.repeat(10)}`;
const alias = `wirt-${anInstance.id.toLowerCase()}`;
const known = [
  ...['-o', `HostKeyAlias=${alias}`, '-o', 'CheckHostIP=no', '-o', 'StrictHostKeyChecking=yes'],
  ...['-o', 'UserKnownHostsFile=FILE', '-o', 'GlobalKnownHostsFile=/dev/null', '-o', 'UpdateHostKeys=no'],
];
const files = `GET /v1/instances/${anInstance.id}/files`;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wirt-ssh-test-'));
  const fake = [
    '#!/bin/sh',
    'for word; do printf "%s\\n" "$word" >> "$FAKE/argv"; done',
    'for word; do case "$word" in UserKnownHostsFile=*) cp "${word#*=}" "$FAKE/known"; esac; done',
    'exit 7',
  ];
  await writeFile(join(folder, 'ssh'), `${fake.join('\n')}\n`);
  await chmod(join(folder, 'ssh'), 0o755);
});
afterEach(() => rm(folder, { recursive: true }));

async function ran(argv: readonly string[], scripts: Readonly<Record<string, Script>> = {}) {
  await using daemon = await startScriptedDaemon({
    'GET /v1/instances/demo': () => ({ json: anInstanceWithDisks }),
    'GET /v1/images/debian-12': () => ({ json: aDiskImage }),
    [files]: () => ({ bytes: `${key} root@demo\n` }),
    ...scripts,
  });
  const env = { PATH: `${folder}:${process.env['PATH']}`, FAKE: folder, TMPDIR: folder };
  const result = await runWirt(['ssh', ...argv], { daemon, env });
  const read = (name: string) => readFile(join(folder, name), 'utf8').catch(() => '');
  const words = (await read('argv')).split('\n').slice(0, -1);
  const masked = words.map((word) => word.replace(/^(UserKnownHostsFile=).*/, '$1FILE'));
  const paths = daemon.asked.filter(({ path }) => path.endsWith('/files')).map(({ query }) => query['path']);
  return { ...result, words, masked, known: await read('known'), paths };
}

describe('wirt ssh', () => {
  it('runs ssh with the host key that the agent told, and passes its exit code on', async () => {
    const { code, masked, known: hosts, paths, words, stderr } = await ran(['demo']);
    expect([code, stderr]).toEqual([7, '']);
    expect(masked).toEqual([...known, '-p', '20022', '-l', 'debian', '127.9.8.7']);
    expect(hosts).toBe(`${alias} ${key}\n`);
    expect(paths).toEqual(['/etc/ssh/ssh_host_ed25519_key.pub']);
    const file = words.find((word) => word.startsWith('UserKnownHostsFile='))?.split('=')[1] ?? '';
    await expect(readFile(file)).rejects.toThrow('ENOENT');
    expect(await readdir(join(file, '../..'))).not.toContain(file.split('/').at(-2));
  });

  it('passes on user, identity and command, options of the command too', async () => {
    const { masked } = await ran(['demo', '--user', 'root', '-i', '/k', '--', 'ls', '-l', 'a b']);
    expect(masked).toEqual([
      ...known,
      ...['-i', '/k', '-p', '20022', '-l', 'root', '127.9.8.7', '--', 'ls', '-l', 'a b'],
    ]);
  });

  it('logs in as the user that cloud-init was told of', async () => {
    const spec = { ...anInstanceWithDisks.spec, cloudInit: { user: 'ada' } };
    const told = { 'GET /v1/instances/demo': () => ({ json: { ...anInstanceWithDisks, spec } }) };
    expect((await ran(['demo'], told)).masked.slice(-3)).toEqual(['-l', 'ada', '127.9.8.7']);
  });

  it('looks for other host keys where the guest has no such file', async () => {
    const script: Script = ({ query }) =>
      query['path']?.includes('rsa') === true
        ? { bytes: 'ssh-rsa AAAAB3NzaC1yc2E=\n' }
        : problem(422, 'guest.command_failed', 'There is no such file.');
    const { code, known: hosts, paths } = await ran(['demo'], { [files]: script });
    expect([code, hosts]).toEqual([7, `${alias} ssh-rsa AAAAB3NzaC1yc2E=\n`]);
    expect(paths).toHaveLength(3);
  });

  it.each<[string, Script]>([
    ['no agent answers', () => problem(409, 'guest.agent_unavailable', 'No guest agent answers in demo.')],
    ['the key is none', () => ({ bytes: `@cert-authority * ${key}\n` })],
    ['the key is endless', () => ({ bytes: `${key}${'A'.repeat(100_000)}\n` })],
  ])('runs nothing where %s, and says how to go on', async (_, script) => {
    const { code, stderr, words } = await ran(['demo'], { [files]: script });
    expect([code, words]).toEqual([4, []]);
    expect(stderr).toContain('The host key of demo could not be asked of its guest agent.');
    expect(stderr).toContain('wirt ssh demo --accept-new');
  });

  it('--accept-new asks no agent, and keeps the key under a name that no other guest gets', async () => {
    const { code, masked, paths } = await ran(['demo', '--accept-new']);
    expect([code, paths]).toEqual([7, []]);
    expect(masked).toEqual([
      ...['-o', `HostKeyAlias=${alias}`, '-o', 'CheckHostIP=no', '-o', 'StrictHostKeyChecking=accept-new'],
      ...['-p', '20022', '-l', 'debian', '127.9.8.7'],
    ]);
  });

  it.each([
    [{ state: 'stopped' }, 'demo is stopped, and nobody can log in to it.', 'wirt start demo --wait ready'],
    [{ state: 'paused' }, 'demo is paused', 'wirt resume demo'],
    [{ ssh: undefined }, 'There is no way to the SSH port of demo from here.', 'wirt exec demo -- COMMAND'],
  ])('of a guest that is %j says what to do', async (status, reason, hint) => {
    const instance = { ...anInstanceWithDisks, status: { ...anInstanceWithDisks.status, ...status } };
    const { code, stderr, words } = await ran(['demo'], {
      'GET /v1/instances/demo': () => ({ json: instance }),
    });
    expect([code, words]).toEqual([4, []]);
    expect(stderr).toContain(reason);
    expect(stderr).toContain(hint);
  });

  it('refuses a user that is none', async () => {
    expect(await ran(['demo', '--user', 'a b'])).toMatchObject({ code: 2, words: [] });
  });

  it('says what to install where there is no ssh', async () => {
    await rm(join(folder, 'ssh'));
    await using daemon = await startScriptedDaemon({
      'GET /v1/instances/demo': () => ({ json: anInstanceWithDisks }),
      'GET /v1/images/debian-12': () => ({ json: aDiskImage }),
      [files]: () => ({ bytes: key }),
    });
    const { code, stderr } = await runWirt(['ssh', 'demo'], { daemon, env: { PATH: folder } });
    expect(code).toBe(1);
    expect(stderr).toContain('The command ssh could not be run.');
    expect(stderr).toContain('apt install openssh-client');
  });
});
