/**
 * `wirt ssh`: runs the `ssh` of this machine against a guest. The guest's host key comes through its agent, a way that nobody
 * on a network is in, and is the only one that is accepted; without an agent it can be taken on trust when asked for.
 */
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Image, Instance } from '@wirt/api';
import { WirtError } from '@wirt/api/errors';
import { type Commands, type Context, command } from '../command.ts';
import { identityFiles } from '../own-ssh-keys.ts';
import { usageError } from '../parse.ts';
import {
  defaultUserOf,
  hostKeyFiles,
  hostKeyIn,
  maxHostKeyBytes,
  type SshTarget,
  sshArguments,
} from '../ssh-target.ts';

const keyMs = 15_000;

const ssh = command({
  arguments: {
    name: { summary: 'Name or id of the instance', complete: 'instance' },
    command: {
      summary: 'A command for the guest’s shell; as with ssh, its words are joined by spaces',
      optional: true,
      many: true,
      complete: 'command',
    },
  },
  options: {
    user: { kind: 'text', value: 'USER', short: 'l', summary: 'Log in as this user (default as told below)' },
    identity: {
      kind: 'text',
      value: 'FILE',
      short: 'i',
      complete: 'file',
      summary: 'Private key to log in with',
    },
    'accept-new': {
      kind: 'flag',
      summary: 'Take the host key on trust and keep it in ~/.ssh/known_hosts; needs no guest agent',
    },
  },
  examples: [
    { line: 'wirt ssh web', does: 'A shell in the guest.' },
    { line: 'wirt ssh web -- uptime', does: 'One command; its exit code becomes that of wirt.' },
    { line: 'wirt ssh web --user root -i ~/.ssh/lab', does: 'As another user, with a certain key.' },
  ],
  notes: [
    'The host key is asked of the guest agent, and no other is accepted. The user is the one that cloud-init was told of,',
    'else the default user of the image’s distribution (debian, ubuntu, …), else root. ssh reads ~/.ssh/config as always.',
  ],
  async run(context, { args, options }) {
    const instance = await context.client.call('GET /v1/instances/{instance}', {
      params: { instance: args.name },
    });
    const { host, port } = requireWay(instance);
    const user = options.user ?? (await userOf(context, instance));
    if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]*\$?$/.test(user))
      throw usageError('ssh', `${JSON.stringify(user)} is no user name.`);
    const identities = options.identity === undefined ? await identityFiles(context.io) : [options.identity];
    const target: SshTarget = { host, port, user, alias: `wirt-${instance.id.toLowerCase()}`, identities };
    if (options['accept-new'])
      return { exitCode: await runSsh(context, sshArguments(target, undefined, args.command)) };
    const key = await hostKeyOf(context, instance);
    const folder = await mkdtemp(join(tmpdir(), 'wirt-ssh-'));
    const removeFolder = (): void => rmSync(folder, { recursive: true, force: true });
    const removeExit = context.io.onExit(removeFolder);
    try {
      const knownHosts = join(folder, 'known_hosts');
      await writeFile(knownHosts, `${target.alias} ${key}\n`, { mode: 0o600 });
      return { exitCode: await runSsh(context, sshArguments(target, knownHosts, args.command)) };
    } finally {
      removeExit();
      removeFolder();
    }
  },
});

function requireWay({ name, spec, status }: Instance): { host: string; port: number } {
  if (status.state !== 'running')
    throw new WirtError(
      'instance.state_conflict',
      `${name} is ${status.state}, and nobody can log in to it.`,
      {
        hint: status.state === 'paused' ? `\`wirt resume ${name}\`` : `\`wirt start ${name} --wait ready\``,
      },
    );
  if (status.ssh === undefined)
    throw new WirtError('instance.state_conflict', `There is no way to the SSH port of ${name} from here.`, {
      hint:
        spec.nics.length === 0
          ? `It has no network card. \`wirt console ${name}\` and \`wirt exec ${name}\` need none.`
          : `Guests that boot from a disk have one. Use \`wirt exec ${name} -- COMMAND\` or \`wirt console ${name}\`.`,
    });
  return status.ssh;
}

/** An image that is gone has no say. */
async function userOf({ client }: Context, { spec }: Instance): Promise<string> {
  const told = spec.cloudInit?.user;
  if (told !== undefined) return told;
  const image: Image | undefined =
    spec.image === undefined
      ? undefined
      : await client.call('GET /v1/images/{image}', { params: { image: spec.image } }).catch(() => undefined);
  return defaultUserOf(image);
}

/** The first of its public host keys. Throws when the agent does not answer or there is none. */
async function hostKeyOf(context: Context, { name, id }: Instance): Promise<string> {
  const client = context.clientWith({ answerMs: keyMs, idleMs: keyMs });
  let last: unknown;
  for (const path of hostKeyFiles) {
    try {
      const answer = await client.stream('GET /v1/instances/{instance}/files', {
        params: { instance: id },
        query: { path },
      });
      const chunks: Uint8Array[] = [];
      let bytes = 0;
      for await (const chunk of answer.body ?? []) {
        bytes += chunk.length;
        if (bytes > maxHostKeyBytes) break;
        chunks.push(chunk);
      }
      const key = bytes > maxHostKeyBytes ? undefined : hostKeyIn(Buffer.concat(chunks).toString('utf8'));
      if (key !== undefined) return key;
    } catch (error) {
      last = error;
      // Only a file that is not there leaves hope for the next one.
      if (!(error instanceof WirtError) || error.code !== 'guest.command_failed') break;
    }
  }
  throw new WirtError(
    'guest.agent_unavailable',
    `The host key of ${name} could not be asked of its guest agent.`,
    {
      ...(last === undefined
        ? { cause: 'It has no host key of a kind that is known here.' }
        : { cause: last }),
      hint: `Is it still starting? \`wirt logs ${name}\`. To take its key on trust: \`wirt ssh ${name} --accept-new\`.`,
    },
  );
}

/** Runs ssh on this terminal to its end, and gives its exit code. */
function runSsh({ io }: Context, argv: readonly string[]): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  // Ctrl-C is for ssh and the guest; we go when they do.
  const removeInterrupt = io.onInterrupt(() => undefined);
  const child = spawn('ssh', [...argv], { stdio: 'inherit', env: { ...io.env } });
  child.on('error', (cause) => {
    reject(
      new WirtError('host.tool_missing', 'The command ssh could not be run.', {
        cause,
        hint: 'Install the OpenSSH client: `apt install openssh-client`.',
      }),
    );
  });
  child.on('exit', (code, signal) =>
    resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])),
  );
  return promise.finally(removeInterrupt);
}

export const commands: Commands = { ssh };
