/** `wirt network attach|detach|publish|unpublish|float|groups`: the network cards of an instance, also of a running guest. */
import type { Operation } from '@wirt/api';
import type { CallInput } from '@wirt/api/client';
import { WirtError } from '@wirt/api/errors';
import { type Commands, type Context, command, type Outcome } from '../command.ts';
import { idempotent } from '../context.ts';
import { type FollowValues, followed, followOptions, lineView } from '../follow.ts';
import { usageError } from '../parse.ts';
import {
  isAt,
  type Published,
  parsePublished,
  parsePublishedPlace,
  publishedText,
} from '../published-port.ts';
import { addressText } from './instance-nics-view.ts';
import {
  addressesOf,
  type Card,
  cardArgument,
  cardOf,
  cardOptions,
  groupsOf,
  modelChoices,
  publishOf,
  readAs,
} from './nic-card.ts';

const following = followOptions(120);
/** How often somebody else may change the instance between our look at it and our change. */
const attempts = 5;

const attach = command({
  arguments: {
    instance: { summary: 'Name or id of the instance', complete: 'instance' },
    network: { summary: 'Name or id of the network', complete: 'network' },
  },
  options: {
    name: { kind: 'text', value: 'NIC', summary: 'Name of the card (default nic0, nic1, …)' },
    ...cardOptions,
    floating: {
      kind: 'text',
      value: 'ADDRESS',
      summary: 'An address of the host’s network that stands for it',
    },
    mac: { kind: 'text', value: 'MAC', summary: 'Its MAC address (default made from the instance’s id)' },
    model: { kind: 'choice', choices: modelChoices, summary: 'How the guest sees it (default virtio)' },
    queues: {
      kind: 'integer',
      value: 'N',
      min: 1,
      max: 256,
      summary: 'Pairs of queues (default as many as vCPUs, up to 8)',
    },
    boot: { kind: 'integer', value: 'N', min: 1, max: 64, summary: 'Its place in the boot order' },
    'no-anti-spoofing': { kind: 'flag', summary: 'It may use other MACs and addresses, as a router has to' },
    ...following,
  },
  examples: [
    { line: 'wirt network attach web back', does: 'A running guest gets the card at once.' },
    {
      line: 'wirt network attach db back --ip 10.80.1.10 --group db',
      does: 'With an address of its own choice, guarded by the group db.',
    },
  ],
  async run(context, { args, options }) {
    const { name, floating, mac, model, queues, boot } = options;
    const operation = await context.client.call('POST /v1/instances/{instance}/nics', {
      params: { instance: args.instance },
      body: {
        network: args.network,
        ...(name === undefined ? {} : { name }),
        ...addressesOf('network attach', options.ip),
        ...groupsOf('network attach', options.group),
        ...publishOf('network attach', options.publish),
        ...(floating === undefined ? {} : { floating }),
        ...(mac === undefined ? {} : { mac }),
        ...(model === undefined ? {} : { model }),
        ...(queues === undefined ? {} : { queues }),
        ...(boot === undefined ? {} : { bootOrder: boot }),
        ...(options['no-anti-spoofing'] ? { antiSpoofing: false } : {}),
      },
      ...idempotent(),
    });
    return followed(context, operation, options, async ({ target }) => {
      const params = { instance: target.id };
      const instance = await context.client.call('GET /v1/instances/{instance}', { params });
      const { nics } = instance.spec;
      const nic = name === undefined ? nics.at(-1) : nics.find((each) => each.name === name);
      const card = nic === undefined ? 'a card' : `${nic.name} at ${addressText(nic)}`;
      return lineView(nic, `${target.name}/${nic?.name}`, `${target.name} is on ${args.network} by ${card}`);
    });
  },
});

const detach = command({
  arguments: {
    ...cardArgument,
    nic: { summary: 'Name of the card, where it is not named with the instance', optional: true },
  },
  options: following,
  examples: [
    { line: 'wirt network detach web/nic1', does: 'A running guest has to let go of it.' },
    { line: 'wirt network detach web', does: 'The only card it has.' },
  ],
  async run(context, { args, options }) {
    const named = args.nic === undefined ? args.card : `${args.card}/${args.nic}`;
    const { instance, nic } = await cardOf(context, named);
    const operation = await context.client.call('DELETE /v1/instances/{instance}/nics/{nic}', {
      params: { instance: instance.id, nic: nic.name },
    });
    return followed(context, operation, options, (ended) =>
      lineView(
        ended,
        `${instance.name}/${nic.name}`,
        `${nic.name} of ${instance.name} is off ${nic.network}`,
      ),
    );
  },
});

type Change = CallInput<'PATCH /v1/instances/{instance}/nics/{nic}'>['body'];

/** Changes a card by what it is, and never over what somebody else has changed meanwhile. */
async function changed(
  context: Context,
  text: string,
  options: FollowValues,
  change: (card: Card) => Change,
  told: (card: Card) => string,
): Promise<Outcome> {
  const { card, operation } = await changeOnce(context, text, change);
  return followed(context, operation, options, async () => {
    const now = await cardOf(context, `${card.instance.id}/${card.nic.name}`);
    return lineView(now.nic, `${now.instance.name}/${now.nic.name}`, told(now));
  });
}

async function changeOnce(
  context: Context,
  text: string,
  change: (card: Card) => Change,
): Promise<{ card: Card; operation: Operation }> {
  for (let attempt = 1; ; attempt += 1) {
    const card = await cardOf(context, text);
    const { instance, nic } = card;
    try {
      const operation = await context.client.call('PATCH /v1/instances/{instance}/nics/{nic}', {
        params: { instance: instance.id, nic: nic.name },
        body: change(card),
        headers: { 'if-match': `"${instance.revision}"` },
      });
      return { card, operation };
    } catch (error) {
      const again = error instanceof WirtError && error.code === 'request.revision_mismatch';
      if (!again || attempt === attempts) throw error;
    }
  }
}

const publish = command({
  arguments: { ...cardArgument, ports: { summary: '[ADDRESS:]HOST:GUEST[/udp]', many: true } },
  options: following,
  examples: [
    { line: 'wirt network publish web 8080:80', does: 'Port 8080 of the host leads to port 80 of web.' },
    {
      line: 'wirt network publish web/nic1 5353:53/udp 127.0.0.1:2222:22',
      does: 'The second only from the host.',
    },
    { line: 'wirt network publish web [2001:db8::5]:443:443', does: 'At one IPv6 address of the host.' },
  ],
  notes: [
    'Refused when somebody on the host has the port. A published port is open, whatever the groups say.',
  ],
  run(context, { args, options }) {
    const wanted = args.ports.map((text) => readAs('network publish', 'PORTS', () => parsePublished(text)));
    return changed(
      context,
      args.card,
      options,
      ({ nic }) => ({ publish: [...nic.publish, ...wanted.filter((each) => isNew(nic.publish, each))] }),
      ({ instance }) =>
        `${instance.name} is reached by ${wanted.map((each) => publishedText(each)).join(', ')} of the host`,
    );
  },
});

/** Throws where the port of the host leads elsewhere already. */
function isNew(have: readonly Published[], each: Published): boolean {
  const same = have.find(
    ({ protocol, hostPort, hostAddress }) =>
      protocol === each.protocol && hostPort === each.hostPort && hostAddress === each.hostAddress,
  );
  if (same === undefined) return true;
  if (same.guestPort === each.guestPort) return false;
  throw new WirtError('network.port_taken', `${publishedText(same)} is published already.`, {
    hint: 'Take it back first: `wirt network unpublish`.',
  });
}

const unpublish = command({
  arguments: {
    ...cardArgument,
    ports: { summary: 'Port of the host, as [ADDRESS:]HOST[/udp]', many: true, optional: true },
  },
  options: { all: { kind: 'flag', summary: 'All of the card’s' }, ...following },
  examples: [
    { line: 'wirt network unpublish web 8080', does: 'The host’s port 8080 leads nowhere any more.' },
    { line: 'wirt network unpublish web/nic1 --all', does: 'Takes back every port of the card.' },
  ],
  run(context, { args, options }) {
    if (options.all === args.ports.length > 0)
      throw usageError('network unpublish', 'wirt network unpublish takes ports of the host, or --all.');
    const places = args.ports.map((text) =>
      readAs('network unpublish', 'PORTS', () => parsePublishedPlace(text)),
    );
    return changed(
      context,
      args.card,
      options,
      ({ instance, nic }) => {
        const missing = args.ports.find(
          (_, at) => !nic.publish.some((each) => places[at] !== undefined && isAt(each, places[at])),
        );
        if (missing !== undefined)
          throw usageError(
            'network unpublish',
            `${instance.name}/${nic.name} has not published ${missing}.`,
            `It has ${nic.publish.map(publishedText).join(', ') || 'published nothing'}.`,
          );
        return {
          publish: options.all
            ? []
            : nic.publish.filter((each) => !places.some((place) => isAt(each, place))),
        };
      },
      ({ instance, nic }) =>
        `${instance.name}/${nic.name} publishes ${nic.publish.map(publishedText).join(', ') || 'nothing'} now`,
    );
  },
});

const float = command({
  arguments: {
    ...cardArgument,
    address: { summary: 'An address of the host’s network that nobody has', optional: true },
  },
  options: { none: { kind: 'flag', summary: 'Take it back' }, ...following },
  examples: [
    {
      line: 'wirt network float web 192.0.2.80',
      does: 'Stands for web, in and out, as far as its groups let in.',
    },
    { line: 'wirt network float web --none', does: 'Takes it back.' },
  ],
  run(context, { args, options }) {
    const { address } = args;
    if (options.none === (address !== undefined))
      throw usageError('network float', 'wirt network float takes an address, or --none.');
    return changed(
      context,
      args.card,
      options,
      () => ({ floating: address ?? null }),
      ({ instance, nic }) =>
        address === undefined
          ? `${instance.name}/${nic.name} has no floating address now`
          : `${address} stands for ${instance.name}/${nic.name}`,
    );
  },
});

const groups = command({
  arguments: {
    ...cardArgument,
    groups: {
      summary: 'Security groups; they replace those it has',
      many: true,
      optional: true,
      complete: 'security-group',
    },
  },
  options: { none: { kind: 'flag', summary: 'None: nothing but replies comes in' }, ...following },
  examples: [
    { line: 'wirt network groups web default web', does: 'What either of them allows is allowed.' },
    { line: 'wirt network groups web/nic1 --none', does: 'Closes the card.' },
  ],
  run(context, { args, options }) {
    if (options.none === args.groups.length > 0)
      throw usageError('network groups', 'wirt network groups takes security groups, or --none.');
    return changed(
      context,
      args.card,
      options,
      () => ({ securityGroups: [...args.groups] }),
      ({ instance, nic }) =>
        `${instance.name}/${nic.name} has ${nic.securityGroups.join(', ') || 'no security group'} now`,
    );
  },
});

export const commands: Commands = {
  'network attach': attach,
  'network detach': detach,
  'network publish': publish,
  'network unpublish': unpublish,
  'network float': float,
  'network groups': groups,
};
