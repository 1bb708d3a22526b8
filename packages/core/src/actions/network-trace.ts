/** Following a packet: who the ends are, what the plan says of it, and a real packet that proves it. */
import {
  type Instance,
  type Network,
  type NetworkTrace,
  type NetworkTraceResult,
  WirtError,
} from '@wirt/api';
import { highestFree } from '../domain/network/addresses.ts';
import { canonicalAddress, parseAddress } from '../domain/network/ip.ts';
import { type Traced, type TraceQuestion, tracePacket } from '../domain/network/trace.ts';
import type { TraceEnd } from '../domain/network/trace-ends.ts';
import type { NetworkPlan, PlannedPort } from '../domain/network-plan.ts';
import type { Request } from './actions.ts';
import { takenOn } from './cards.ts';
import { unsupported } from './network-new.ts';
import { networksLane } from './network-state.ts';
import type { Shared } from './parts.ts';

const probeMs = 15_000;

type End = { readonly instance: Instance } | { readonly address: string };

/** One at a time: they share what the host has for it. */
const probeLane = 'network-probe';

export async function traceNetwork(
  shared: Shared,
  request: Request,
  input: NetworkTrace,
): Promise<NetworkTraceResult> {
  const { networking } = shared;
  if (shared.network.driver === 'user')
    throw unsupported('There is nothing to trace: without root each guest is on a network of its own.');
  const from = endOf(shared, input.from);
  const to = endOf(shared, input.to);
  const { protocol, port, family, live } = input;
  const question = {
    from: idOf(from),
    to: idOf(to),
    protocol,
    family,
    ...(port === undefined ? {} : { port }),
  };
  const ofHost = new Set(
    (await shared.network.interfaces()).flatMap(({ addresses }) =>
      addresses.flatMap((address) => canonicalAddress(address) ?? []),
    ),
  );
  const traced = tracePacket(networking.planOfAll(), question, ofHost);
  const steps = [...lacks(from), ...lacks(to), ...traced.steps];
  const stopped = [from, to].flatMap((end) => notRunning(shared, end));
  // What the rules say is told first, since it holds when the guest runs.
  const verdict =
    steps.every((step) => step.verdict === 'passes') && stopped.length === 0 ? 'passes' : 'dropped';
  const isDroppedBefore = steps.some((step) => step.verdict === 'dropped');
  const isThere = notRunning(shared, to).length === 0;
  return {
    verdict,
    from: shown(from, traced.fromAddress),
    to: shown(to, traced.toAddress),
    steps: isDroppedBefore ? steps : [...steps, ...stopped],
    ...(live ? { live: await prove(shared, request, { question, traced, ofHost, isThere }) } : {}),
  };
}

function endOf({ instances }: Shared, text: string): End {
  const instance = instances.find(text);
  if (instance !== undefined) return { instance };
  return parseAddress(text) === undefined ? { instance: instances.require(text) } : { address: text };
}

function idOf(end: End): TraceEnd {
  return 'instance' in end ? { instance: end.instance.id } : end;
}

function shown(end: End, address: string | undefined): string {
  if (!('instance' in end)) return end.address;
  return address === undefined || address === '' ? end.instance.name : `${end.instance.name} (${address})`;
}

function lacks(end: End): NetworkTraceResult['steps'] {
  if (!('instance' in end) || end.instance.spec.nics.length > 0) return [];
  return [{ at: end.instance.name, verdict: 'dropped', why: 'It has no network card.' }];
}

function notRunning({ networking }: Shared, end: End): NetworkTraceResult['steps'] {
  if (!('instance' in end) || networking.isPlugged(end.instance.id)) return [];
  const { name, status } = end.instance;
  return [{ at: name, verdict: 'dropped', why: `It is ${status.state}; the rules would let it pass.` }];
}

interface Claim {
  readonly question: TraceQuestion;
  readonly traced: Traced;
  readonly ofHost: ReadonlySet<string>;
  /** Whether the other end can be reached at all. */
  readonly isThere: boolean;
}

/** From an address that nobody has, so that no guest takes part unasked. */
async function prove(
  shared: Shared,
  request: Request,
  { question, traced, ofHost, isThere }: Claim,
): Promise<NonNullable<NetworkTraceResult['live']>> {
  const { lanes, networking } = shared;
  const { protocol, port, family } = question;
  const { fromPort, toAddress } = traced;
  const network = fromPort === undefined ? undefined : shared.networks.get(fromPort.network);
  if (fromPort === undefined || network === undefined)
    throw unsupported(
      'A packet can be sent only as an instance sends it.',
      'Name an instance as the first end.',
    );
  if (toAddress === undefined || toAddress === '')
    throw unsupported(
      'A packet can be sent only to an address that Wirt knows.',
      'Name the address as the other end.',
    );
  if (protocol !== 'icmp' && port === undefined)
    throw new WirtError('request.invalid', 'A packet needs a port to be sent to.', {
      hint: 'Give `--port`.',
    });
  return lanes.run(probeLane, async () => {
    request.signal.throwIfAborted();
    const from = await borrow(shared, network, family);
    try {
      const { passes, why } = await shared.network.probe(
        {
          network: network.id,
          groups: fromPort.groups,
          from,
          to: toAddress,
          protocol,
          ...(port === undefined ? {} : { port }),
        },
        AbortSignal.any([request.signal, AbortSignal.timeout(probeMs)]),
      );
      const said = tracePacket(...asSent(networking.planOfAll(), question, fromPort, from), ofHost).verdict;
      const expected = isThere ? said : 'dropped';
      const differs =
        said === traced.verdict
          ? ''
          : ` A rule that decides names addresses, and this one is not ${fromPort.hostname}’s: of this packet the records say “${said}”.`;
      return {
        verdict: passes ? 'passes' : 'dropped',
        why: `${why} It was sent from ${from}, by another card of the same groups.${differs}`,
        expected,
      };
    } finally {
      networking.lent.delete(network.id);
    }
  });
}

/** Nobody else is given the address meanwhile. */
function borrow(shared: Shared, network: Network, family: 'ipv4' | 'ipv6'): Promise<string> {
  return shared.lanes.run(networksLane, async () => {
    const space = { name: network.name, ...network.spec };
    const address = highestFree(space, family, takenOn(shared, network));
    if (address === undefined)
      throw unsupported(
        `Network ${network.name} has no free ${family} address to send a packet from.`,
        'Trace without `--live`.',
      );
    shared.networking.lent.set(network.id, address);
    return address;
  });
}

/** The plan and the question as they are for the packet that is sent. */
function asSent(
  plan: NetworkPlan,
  question: TraceQuestion,
  like: PlannedPort,
  from: string,
): [NetworkPlan, TraceQuestion] {
  const { ipv4: _, ipv6: __, floating: ___, ...rest } = like;
  const instance = 'probe';
  const probe = { ...rest, instance, publish: [], [question.family]: from };
  return [
    { ...plan, ports: [...plan.ports, probe] },
    { ...question, from: { instance } },
  ];
}
