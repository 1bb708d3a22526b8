/** Following a packet: who the ends are, what the plan says of it, and a real packet that proves it. */
import { type Instance, type NetworkTrace, type NetworkTraceResult, WirtError } from '@wirt/api';
import { highestFree } from '../domain/network/addresses.ts';
import { parseAddress } from '../domain/network/ip.ts';
import { type Traced, type TraceEnd, tracePacket } from '../domain/network/trace.ts';
import { takenOn } from './cards.ts';
import { unsupported } from './network-new.ts';
import type { Shared } from './parts.ts';

const probeMs = 15_000;

type End = { readonly instance: Instance } | { readonly address: string };

export async function traceNetwork(shared: Shared, input: NetworkTrace): Promise<NetworkTraceResult> {
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
  const traced = tracePacket(networking.planOfAll(), question);
  const steps = [...lacks(from), ...lacks(to), ...traced.steps];
  const stopped = [from, to].flatMap((end) => notRunning(shared, end));
  // What the rules say is told first, since it holds when the guest runs.
  const verdict =
    steps.every((step) => step.verdict === 'passes') && stopped.length === 0 ? 'passes' : 'dropped';
  const isDroppedBefore = steps.some((step) => step.verdict === 'dropped');
  return {
    verdict,
    from: shown(from, traced.fromAddress),
    to: shown(to, traced.toAddress),
    steps: isDroppedBefore ? steps : [...steps, ...stopped],
    ...(live ? { live: await prove(shared, input, traced) } : {}),
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

/** From an address that nobody has, so that no guest takes part unasked. */
async function prove(
  shared: Shared,
  { protocol, port, family }: NetworkTrace,
  { fromPort, toAddress }: Traced,
): Promise<NonNullable<NetworkTraceResult['live']>> {
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
  const space = { name: network.name, ...network.spec };
  const from = highestFree(space, family, takenOn(shared, network));
  if (from === undefined)
    throw unsupported(
      `Network ${network.name} has no free ${family} address to send a packet from.`,
      'Trace without `--live`.',
    );
  if (protocol !== 'icmp' && port === undefined)
    throw new WirtError('request.invalid', 'A packet needs a port to be sent to.', {
      hint: 'Give `--port`.',
    });
  const { passes, why } = await shared.network.probe(
    {
      network: network.id,
      groups: fromPort.groups,
      from,
      to: toAddress,
      protocol,
      ...(port === undefined ? {} : { port }),
    },
    AbortSignal.timeout(probeMs),
  );
  return { verdict: passes ? 'passes' : 'dropped', why };
}
