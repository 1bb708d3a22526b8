/** The card that a command is about, as INSTANCE/NIC or INSTANCE where that has one only, and what cards are asked for with. */
import type { Instance } from '@wirt/api';
import type { CallInput } from '@wirt/api/client';
import { WirtError } from '@wirt/api/errors';
import type { Context, OptionSpecs } from '../command.ts';
import { usageError } from '../parse.ts';
import { type Published, parsePublished } from '../published-port.ts';
import { BadValue } from '../units.ts';

export type Nic = Instance['spec']['nics'][number];
export type NicInput = CallInput<'POST /v1/instances/{instance}/nics'>['body'];

export const modelChoices = ['virtio', 'e1000e', 'e1000', 'vmxnet3', 'rtl8139'] as const;

/** What both `wirt run` and `wirt network attach` ask for. */
export const cardOptions = {
  ip: {
    kind: 'text',
    value: 'ADDRESS',
    many: true,
    summary: 'Its IPv4 or IPv6 address, or one of each (default the next free)',
  },
  group: {
    kind: 'text',
    value: 'GROUP',
    short: 'g',
    many: true,
    complete: 'security-group',
    summary: 'Security group, or none (default “default”)',
  },
  publish: {
    kind: 'text',
    value: '[ADDRESS:]HOST:GUEST[/udp]',
    short: 'p',
    many: true,
    summary: 'Port of the host that leads to a port of the guest',
  },
} as const satisfies OptionSpecs;

export const cardArgument = {
  card: { summary: 'INSTANCE/NIC, or INSTANCE where it has one card only', complete: 'nic' },
} as const;

export interface Card {
  readonly instance: Instance;
  readonly nic: Nic;
}

export async function cardOf(context: Context, text: string): Promise<Card> {
  const [name = '', wanted] = text.split('/', 2);
  if (name === '' || wanted === '' || text.split('/').length > 2)
    throw usageError('network', `A card is named INSTANCE/NIC, and not ${JSON.stringify(text)}.`);
  const instance = await context.client.call('GET /v1/instances/{instance}', { params: { instance: name } });
  const { nics } = instance.spec;
  const nic = wanted === undefined ? onlyOf(instance) : nics.find((each) => each.name === wanted);
  if (nic === undefined)
    throw new WirtError(
      'network.no_such_nic',
      `Instance ${instance.name} has no network card${wanted === undefined ? '' : ` ${wanted}`}.`,
      {
        hint:
          nics.length === 0
            ? `Attach one: \`wirt network attach ${instance.name} NETWORK\`.`
            : `It has ${cardNames(instance)}.`,
      },
    );
  return { instance, nic };
}

function onlyOf(instance: Instance): Nic | undefined {
  const { nics } = instance.spec;
  if (nics.length > 1)
    throw usageError(
      'network',
      `Instance ${instance.name} has ${nics.length} network cards.`,
      `Name one: ${cardNames(instance)}.`,
    );
  return nics[0];
}

function cardNames({ name, spec }: Instance): string {
  return spec.nics.map((nic) => `${name}/${nic.name}`).join(', ');
}

/** At most one address of each family. */
export function addressesOf(command: string, given: readonly string[]): Pick<NicInput, 'ipv4' | 'ipv6'> {
  const [v6, v4] = [given.filter((text) => text.includes(':')), given.filter((text) => !text.includes(':'))];
  if (v4.length > 1 || v6.length > 1)
    throw usageError(command, '--ip takes one IPv4 and one IPv6 address at most.');
  return { ...(v4[0] === undefined ? {} : { ipv4: v4[0] }), ...(v6[0] === undefined ? {} : { ipv6: v6[0] }) };
}

/** Undefined where nothing was said; `none` for none. */
export function groupsOf(command: string, given: readonly string[]): Pick<NicInput, 'securityGroups'> {
  if (given.includes('none') && given.length > 1)
    throw usageError(command, '--group none excludes every other --group.');
  if (given.length === 0) return {};
  return { securityGroups: given.filter((group) => group !== 'none') };
}

export function publishOf(command: string, given: readonly string[]): { readonly publish?: Published[] } {
  if (given.length === 0) return {};
  return { publish: given.map((text) => readAs(command, '--publish', () => parsePublished(text))) };
}

/** What `read` gives, and its complaint as one about the command line. */
export function readAs<T>(command: string, what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof BadValue) throw usageError(command, `${what} ${error.message}.`);
    throw error;
  }
}
