/** The network cards of `wirt run`, and what the metadata service tells the guest. */
import type { CallInput } from '@wirt/api/client';
import type { OptionSpecs, OptionValues } from '../command.ts';
import { usageError } from '../parse.ts';
import { addressesOf, cardOptions, groupsOf, modelChoices, publishOf } from './nic-card.ts';

type Spec = CallInput<'POST /v1/instances'>['body']['spec'];

export const nicOptions = {
  network: {
    kind: 'text',
    value: 'NAME',
    many: true,
    complete: 'network',
    summary: 'Network for a card, or none (default “default”)',
  },
  ...cardOptions,
  'nic-model': {
    kind: 'choice',
    choices: modelChoices,
    summary: 'How the guest sees its network cards (default virtio)',
  },
  'metadata-tokens': {
    kind: 'choice',
    choices: ['required', 'optional'],
    summary: 'Whether 169.254.169.254 answers only who has asked for a token, IMDSv2 (default required)',
  },
  'metadata-hop-limit': {
    kind: 'integer',
    value: 'N',
    min: 1,
    max: 64,
    summary: 'Hops that its answers live (default 1, which containers in the guest are beyond)',
  },
  'no-metadata': { kind: 'flag', summary: 'Without the metadata service' },
} as const satisfies OptionSpecs;

type NicValues = OptionValues<typeof nicOptions>;

/** `--ip` and `--publish` are for the first card, `--group` and `--nic-model` for all. */
export function nicSpec(given: NicValues): Pick<Spec, 'nics'> {
  const { network: networks, 'nic-model': model } = given;
  const first = { ...addressesOf('run', given.ip), ...publishOf('run', given.publish) };
  const each = { ...groupsOf('run', given.group), ...(model === undefined ? {} : { model }) };
  if (networks.includes('none')) {
    if (networks.length > 1) throw usageError('run', '--network none excludes every other --network.');
    const [needless] = (['nic-model', 'ip', 'group', 'publish'] as const).filter(
      (option) => (given[option]?.length ?? 0) > 0,
    );
    if (needless !== undefined)
      throw usageError('run', `--network none and --${needless} exclude each other.`);
    return { nics: [] };
  }
  const asked = networks.length + Object.keys(first).length + Object.keys(each).length > 0;
  if (!asked) return {};
  const cards = networks.length === 0 ? ['default'] : networks;
  return { nics: cards.map((network, at) => ({ network, ...(at === 0 ? first : {}), ...each })) };
}

export function metadataSpec(given: NicValues): Pick<Spec, 'metadata'> {
  const { 'metadata-tokens': tokens, 'metadata-hop-limit': hopLimit } = given;
  const asked = tokens !== undefined || hopLimit !== undefined;
  if (given['no-metadata'] && asked)
    throw usageError('run', '--no-metadata excludes --metadata-tokens and --metadata-hop-limit.');
  if (given['no-metadata']) return { metadata: { enabled: false } };
  if (!asked) return {};
  return {
    metadata: {
      ...(tokens === undefined ? {} : { tokens }),
      ...(hopLimit === undefined ? {} : { hopLimit }),
    },
  };
}
