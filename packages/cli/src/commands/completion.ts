/** `wirt completion SHELL`, and `wirt complete`, which its scripts call. */
import type { Client } from '@wirt/api/client';
import { type Commands, command, type NamedKind } from '../command.ts';
import { type Candidate, complete, type NameSource } from '../complete.ts';
import { completionScripts, type Shell, shells } from '../completion-scripts.ts';
import { createContext } from '../context.ts';
import { visible } from '../escape.ts';
import { write } from '../io.ts';
import { ruleText } from '../security-rule.ts';
import { sizeText } from '../units.ts';

/** Somebody waits at the keyboard. */
const answerMs = 700;
const maxNames = 200;

const completion = command({
  arguments: { shell: { summary: 'The shell', choices: shells } },
  options: {},
  examples: [
    { line: 'eval "$(wirt completion bash)"', does: 'In ~/.bashrc.' },
    { line: 'wirt completion zsh > "${fpath[1]}/_wirt"', does: 'For zsh.' },
    { line: 'wirt completion fish > ~/.config/fish/completions/wirt.fish', does: 'For fish.' },
  ],
  async run(context, { args }) {
    // Allowed are only the shells, see `choices`.
    const script = completionScripts[args.shell as Shell];
    if (context.output === 'table') {
      await write(context.io.stdout, script);
      return {};
    }
    return { view: { data: { shell: args.shell, script }, names: [args.shell], table: () => [] } };
  },
});

const answer = command({
  arguments: {
    words: { summary: 'Words after wirt; the last one is completed', many: true, complete: 'command' },
  },
  options: {},
  examples: [
    { line: 'wirt complete -- show de', does: 'A line for each candidate: value, tab, description.' },
  ],
  async run(context, { args }) {
    const at = args.words.lastIndexOf('--socket');
    const socket = at < 0 ? undefined : args.words[at + 1];
    const there = socket === undefined || socket === '' ? context : createContext(context, socket);
    const found = await complete(context.catalogue, args.words, namesFrom(there.clientWith({ answerMs })));
    if (context.output !== 'table') {
      return { view: { data: found, names: found.candidates.map(({ value }) => value), table: () => [] } };
    }
    const lines = found.candidates.map(({ value, description }) => `${value}\t${visible(description)}\n`);
    await write(context.io.stdout, lines.join('') + (found.files ? ':files\n' : ''));
    return {};
  },
});

function namesFrom(client: Client): NameSource {
  const query = { limit: maxNames };
  const sources: Record<NamedKind, (prefix: string, of: string | undefined) => Promise<Candidate[]>> = {
    instance: async (name) => {
      const query = {
        limit: maxNames,
        fields: 'name,status.state,spec.image',
        ...(name === '' ? {} : { name }),
      };
      const { items } = await client.call('GET /v1/instances', { query });
      return items.map((each) => ({
        value: each.name,
        description: [each.status.state, ...(each.spec.image === undefined ? [] : [each.spec.image])].join(
          ', ',
        ),
      }));
    },
    image: async () => {
      const { items } = await client.call('GET /v1/images', { query });
      return items.map((each) => ({
        value: each.name,
        description: `${each.spec.format}, ${each.status.state}`,
      }));
    },
    volume: async () => {
      const { items } = await client.call('GET /v1/volumes', { query });
      return items.map((each) => ({ value: each.name, description: sizeText(each.spec.sizeBytes) }));
    },
    pool: async () => {
      const { items } = await client.call('GET /v1/pools', { query });
      return items.map((each) => ({ value: each.name, description: each.spec.path }));
    },
    snapshot: async (_, instance) => {
      if (instance === undefined) return [];
      const params = { instance };
      const { items } = await client.call('GET /v1/instances/{instance}/snapshots', { params, query });
      return items.map((each) => ({ value: each.name, description: each.createdAt }));
    },
    network: async () => {
      const { items } = await client.call('GET /v1/networks', { query });
      return items.map((each) => ({ value: each.name, description: each.spec.kind }));
    },
    nic: async (prefix) => {
      const [name = ''] = prefix.split('/');
      const query = { limit: maxNames, fields: 'name,spec.nics', ...(name === '' ? {} : { name }) };
      const { items } = await client.call('GET /v1/instances', { query });
      return items.flatMap((each) =>
        each.spec.nics.map((nic) => ({ value: `${each.name}/${nic.name}`, description: nic.network })),
      );
    },
    'security-group': async () => {
      const { items } = await client.call('GET /v1/security-groups', { query });
      return items.map((each) => ({ value: each.name, description: each.spec.description }));
    },
    rule: async (_, group) => {
      if (group === undefined) return [];
      const { spec } = await client.call('GET /v1/security-groups/{group}', { params: { group } });
      return spec.rules.map((rule) => ({ value: rule.id, description: ruleText(rule) }));
    },
    part: async (_, instance) => {
      if (instance === undefined) return [];
      const { spec } = await client.call('GET /v1/instances/{instance}', { params: { instance } });
      const disks = spec.disks.flatMap(({ device, name }) => (device === 'disk' ? [`disk.${name}`] : []));
      const parts = [...disks, ...spec.nics.map(({ name }) => `network.${name}`)];
      return parts.map((value) => ({ value, description: '' }));
    },
    policy: async () => {
      const { items } = await client.call('GET /v1/policies', { query });
      return items.map((each) => ({ value: each.name, description: each.spec.description }));
    },
    operation: async () => {
      const { items } = await client.call('GET /v1/operations', { query });
      return items.map((each) => ({
        value: each.id,
        description: `${each.kind} ${each.target.name}, ${each.state}`,
      }));
    },
  };
  return async (kind, prefix, of) => {
    try {
      return await sources[kind](prefix, of);
    } catch {
      // Whoever presses Tab wants no error message.
      return [];
    }
  };
}

export const commands: Commands = { completion, complete: answer };
