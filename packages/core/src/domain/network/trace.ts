/**
 * Follows the first packet of a connection through a plan, as the host would pass it on, and says at each place what decides. Knows
 * what Wirt makes, and nothing of other people’s firewalls and routes.
 */
import type { NetworkTraceResult, SecurityRule } from '@wirt/api';
import type { NetworkPlan, PlannedNetwork, PlannedPort } from '../network-plan.ts';
import { canonicalAddress } from './ip.ts';
import { allowedBy, type Packet, type Remote } from './rule-match.ts';
import { ruleText } from './rules.ts';
import { type End, endsOf, type TraceEnd } from './trace-ends.ts';

export interface TraceQuestion extends Packet {
  readonly from: TraceEnd;
  readonly to: TraceEnd;
}

export type TraceStep = NetworkTraceResult['steps'][number];

export interface Traced {
  readonly verdict: 'passes' | 'dropped';
  readonly steps: readonly TraceStep[];
  /** The cards that were taken, where the ends are guests. */
  readonly fromPort?: PlannedPort;
  readonly toPort?: PlannedPort;
  readonly fromAddress?: string;
  readonly toAddress?: string;
}

/** One packet on its way. A stage adds its steps, and says whether it goes on. */
interface Way {
  readonly plan: NetworkPlan;
  readonly question: TraceQuestion;
  readonly steps: TraceStep[];
}

/** `ofHost` are the addresses that the host has, in their canonical form. */
export function tracePacket(
  plan: NetworkPlan,
  question: TraceQuestion,
  ofHost: ReadonlySet<string> = new Set(),
): Traced {
  const [from, to] = endsOf(plan, question, ofHost);
  const steps: TraceStep[] = [];
  const way: Way = { plan, question, steps };
  const passes = from.kind === 'guest' ? fromGuest(way, from.port, to) : fromElsewhere(way, from, to);
  const fromAddress = addressOf(question, from);
  const toAddress = addressOf(question, to);
  return {
    verdict: passes ? 'passes' : 'dropped',
    steps,
    ...(from.kind === 'guest' ? { fromPort: from.port } : {}),
    ...(to.kind === 'guest' ? { toPort: to.port } : {}),
    ...(fromAddress === undefined ? {} : { fromAddress }),
    ...(toAddress === undefined ? {} : { toAddress }),
  };
}

function addressOf({ family }: Packet, end: End): string | undefined {
  return end.kind === 'guest' ? end.port[family] : end.address;
}

function step(way: Way, verdict: TraceStep['verdict'], at: string, why: string, rule?: string): boolean {
  way.steps.push({ at, verdict, why, ...(rule === undefined ? {} : { rule }) });
  return verdict === 'passes';
}

function networkOf(way: Way, port: PlannedPort): PlannedNetwork | undefined {
  return way.plan.networks.find(({ id }) => id === port.network);
}

function cardName(port: PlannedPort): string {
  return `${port.nic} of ${port.hostname}`;
}

function fromGuest(way: Way, port: PlannedPort, to: End): boolean {
  const network = networkOf(way, port);
  if (network === undefined || !leaveCard(way, port, network)) return false;
  switch (to.kind) {
    case 'host':
      return hostAnswers(way, port, network, to.address);
    case 'self':
      return selfAnswers(way, port, network, to.address);
    case 'metadata':
      return metadataAnswers(way, port);
    case 'nobody':
      return step(way, 'dropped', `network ${to.network.name}`, `Nobody there has ${to.address}.`);
    case 'outside':
      return (
        byGroups(way, port, 'egress', { address: to.address, groups: [] }) &&
        leaveNetwork(way, port, network, to.address)
      );
    case 'guest': {
      if (to.port === port)
        return step(way, 'passes', cardName(port), 'It is its own: nothing leaves the guest.');
      if (!byGroups(way, port, 'egress', remoteOf(way, to.port))) return false;
      if (to.floating !== undefined)
        step(way, 'passes', 'host', `${to.floating} stands for ${cardName(to.port)}.`);
      return toGuest(way, port, network, to.port);
    }
  }
}

function remoteOf({ question }: Way, port: PlannedPort): Remote {
  return { address: port[question.family], groups: port.groups };
}

function leaveCard(way: Way, port: PlannedPort, network: PlannedNetwork): boolean {
  const { family } = way.question;
  const address = port[family];
  if (address !== undefined)
    return step(
      way,
      'passes',
      cardName(port),
      port.antiSpoofing
        ? `It sends from ${address}, its own address.`
        : `It may send from any address; ${address} is its own.`,
    );
  if (network.kind === 'bridged')
    return step(way, 'passes', cardName(port), 'It has its address from the uplink; Wirt does not know it.');
  return step(way, 'dropped', cardName(port), `It has no ${family === 'ipv4' ? 'IPv4' : 'IPv6'} address.`);
}

/** What any of its groups allows. */
function byGroups(
  way: Way,
  port: PlannedPort,
  direction: SecurityRule['direction'],
  remote: Remote,
): boolean {
  const { plan, question } = way;
  const allowed = allowedBy(plan, port, direction, remote, question);
  if (allowed !== undefined) {
    const { group, rule } = allowed;
    return step(way, 'passes', `group ${group.name}`, `Its rule “${ruleText(rule)}” allows it.`, rule.id);
  }
  const names = plan.groups.filter(({ id }) => port.groups.includes(id)).map(({ name }) => name);
  const what =
    question.protocol === 'icmp'
      ? 'an echo request'
      : `${question.protocol} ${question.port ?? 'to every port'}`;
  const end = `${direction === 'ingress' ? 'from' : 'to'} ${remote.address ?? 'there'}`;
  return names.length === 0
    ? step(way, 'dropped', cardName(port), 'It has no security group, so that only replies pass.')
    : step(way, 'dropped', `group ${names.join(', ')}`, `No ${direction} rule allows ${what} ${end}.`);
}

/** The host’s own services on the network; all else of the host is closed to guests. */
function hostAnswers(way: Way, port: PlannedPort, network: PlannedNetwork, address: string): boolean {
  const { protocol, port: number, family } = way.question;
  if (port.network !== network.id || network[family]?.gateway !== address)
    return step(way, 'dropped', 'host', `${address} is of another network; guests do not reach it.`);
  if (protocol === 'icmp') return step(way, 'passes', 'host', 'It answers echo requests of its guests.');
  if (number === 53) return step(way, 'passes', 'host', 'It answers names there.');
  const dhcp = family === 'ipv4' ? 67 : 547;
  if (protocol === 'udp' && number === dhcp) return step(way, 'passes', 'host', 'It answers DHCP there.');
  return step(way, 'dropped', 'host', 'Guests reach only DHCP, DNS, echo and metadata of the host.');
}

/** All that the host has beside its gateways, but for what it publishes there. */
function selfAnswers(way: Way, port: PlannedPort, network: PlannedNetwork, address: string): boolean {
  if (network.kind === 'bridged')
    return (
      byGroups(way, port, 'egress', { address, groups: [] }) && leaveNetwork(way, port, network, address)
    );
  const behind = publishedAt(way, address);
  if (behind !== undefined) {
    const { to, guestPort } = behind;
    const inside = { ...way, question: { ...way.question, port: guestPort } };
    return byGroups(inside, port, 'egress', remoteOf(way, to)) && crossTo(inside, port, network, to);
  }
  return step(
    way,
    'dropped',
    'host',
    `${address} is the host’s own: its input takes nothing from guests but at their gateway.`,
  );
}

/** Who is behind a port of the host there; then it is told. */
function publishedAt(way: Way, address: string): { to: PlannedPort; guestPort: number } | undefined {
  const { question, plan } = way;
  for (const to of plan.ports) {
    if (to[question.family] === undefined) continue;
    const published = to.publish.find(
      ({ protocol, hostPort, hostAddress }) =>
        protocol === question.protocol &&
        hostPort === question.port &&
        (hostAddress === undefined || isAt(hostAddress, address)),
    );
    if (published === undefined) continue;
    const { hostPort, guestPort } = published;
    step(
      way,
      'passes',
      'host',
      `Its port ${hostPort} is published for ${cardName(to)}, whatever its groups.`,
    );
    return { to, guestPort };
  }
  return undefined;
}

function isAt(hostAddress: string, address: string): boolean {
  return [address, address.includes(':') ? '::' : '0.0.0.0'].includes(canonicalAddress(hostAddress) ?? '');
}

/** To where a published port leads: what is published needs no rule on that side. */
function crossTo(way: Way, from: PlannedPort, network: PlannedNetwork, to: PlannedPort): boolean {
  const other = networkOf(way, to);
  if (other === undefined) return false;
  if (other.id === network.id) return step(way, 'passes', `network ${network.name}`, 'Both are on it.');
  if (!leaveNetwork(way, from, network, to[way.question.family] ?? 'there')) return false;
  return step(way, 'passes', 'host', `It forwards from network ${network.name} to ${other.name}.`);
}

function metadataAnswers(way: Way, port: PlannedPort): boolean {
  const { protocol, port: number } = way.question;
  if (port.metadataHopLimit === undefined)
    return step(way, 'dropped', 'host', 'The metadata service is off for this instance.');
  if (protocol === 'tcp' && number === 80)
    return step(way, 'passes', 'host', 'The metadata service answers its guests.');
  return step(way, 'dropped', 'host', 'The metadata service answers on TCP port 80 only.');
}

function leaveNetwork(way: Way, port: PlannedPort, { kind, name }: PlannedNetwork, address: string): boolean {
  const at = `network ${name}`;
  switch (kind) {
    case 'isolated':
      return step(way, 'dropped', at, 'It is isolated: nothing leaves it.');
    case 'bridged':
      return step(way, 'passes', at, `It goes out by the uplink to ${address}.`);
    case 'routed':
      return step(way, 'passes', at, `The host routes it to ${address}, from its own address.`);
    case 'nat':
      return step(
        way,
        'passes',
        at,
        `It goes out to ${address} from ${port.floating === undefined ? 'the host’s address' : `${port.floating}, its floating address`}.`,
      );
  }
}

function toGuest(way: Way, from: PlannedPort, network: PlannedNetwork, to: PlannedPort): boolean {
  const other = networkOf(way, to);
  if (other === undefined) return false;
  if (other.id === network.id) {
    step(way, 'passes', `network ${network.name}`, 'Both are on it.');
    return byGroups(way, to, 'ingress', remoteOf(way, from));
  }
  if (!leaveNetwork(way, from, network, to[way.question.family] ?? 'there')) return false;
  const remote = remoteOf(way, from);
  if (network.kind === 'bridged') return enter(way, remote, to, other);
  if (other.kind === 'isolated')
    return step(way, 'dropped', `network ${other.name}`, 'It is isolated: nothing enters it.');
  if (other.kind === 'bridged') return enter(way, remote, to, other);
  step(way, 'passes', 'host', `It forwards from network ${network.name} to ${other.name}.`);
  return byGroups(way, to, 'ingress', remote);
}

function fromElsewhere(way: Way, from: Exclude<End, { kind: 'guest' }>, to: End): boolean {
  if (to.kind === 'self' && publishedAt(way, to.address) !== undefined) return true;
  if (to.kind !== 'guest')
    return step(way, 'dropped', 'host', 'Neither end is a guest of a network: Wirt has no part in it.');
  const network = networkOf(way, to.port);
  if (network === undefined) return false;
  if (from.kind === 'host' || (from.kind === 'self' && network.kind !== 'bridged'))
    return step(way, 'passes', 'host', 'The host reaches its guests, whatever their groups.');
  if (from.kind === 'nobody' && from.network.id === network.id)
    return step(way, 'dropped', `network ${network.name}`, `Nobody there has ${from.address}.`);
  const floating = to.floating === undefined ? {} : { floating: to.floating };
  return enter(way, { address: from.address, groups: [] }, to.port, network, floating);
}

/** From outside of the host. */
function enter(
  way: Way,
  remote: Remote,
  to: PlannedPort,
  { kind, name }: PlannedNetwork,
  { floating }: { readonly floating?: string } = {},
): boolean {
  const at = `network ${name}`;
  const { protocol, port } = way.question;
  const published = to.publish.find((one) => one.protocol === protocol && one.guestPort === port);
  switch (kind) {
    case 'isolated':
      return step(way, 'dropped', at, 'It is isolated: nothing enters it.');
    case 'bridged':
      step(way, 'passes', at, 'It comes in by the uplink.');
      return byGroups(way, to, 'ingress', remote);
    case 'routed':
      step(way, 'passes', at, 'The host routes it there.');
      return byGroups(way, to, 'ingress', remote);
    case 'nat':
      if (floating === undefined && published !== undefined)
        return step(
          way,
          'passes',
          'host',
          `Its port ${published.hostPort} is published for ${cardName(to)}, whatever its groups.`,
        );
      if (to.floating === undefined)
        return step(
          way,
          'dropped',
          'host',
          `Nothing leads in: publish the port, or give ${cardName(to)} a floating address.`,
        );
      step(way, 'passes', 'host', `${to.floating} stands for ${cardName(to)}.`);
      return byGroups(way, to, 'ingress', remote);
  }
}
