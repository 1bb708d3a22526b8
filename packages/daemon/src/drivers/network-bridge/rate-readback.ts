/** What the kernel says of a port's rates, in the words in which they are asked for. Pure. */
import type { DirectionLimits, NicLimits } from '@wirt/api';
import type { PlannedPort } from '@wirt/core';
import type { HostNames } from './names.ts';
import { bucketOf } from './rates.ts';
import { isToldOf, type Qdisc, type TcState } from './tc-state.ts';

/** Packets a second by tap, as nftables has them. */
export interface PacketRates {
  readonly ingress: ReadonlyMap<string, number>;
  readonly egress: ReadonlyMap<string, number>;
}

export function limitsOf(port: PlannedPort, names: HostNames, tc: TcState, packets: PacketRates): NicLimits {
  const tap = names.port(port);
  const shaper = names.shaper(port);
  const isRedirected = tc.qdiscs.get(tap)?.incoming !== undefined && tc.redirected.has(shaper);
  const ingress = direction(port, 'ingress', tc.qdiscs.get(tap), packets.ingress.get(tap));
  const egress = direction(
    port,
    'egress',
    isRedirected ? tc.qdiscs.get(shaper) : undefined,
    packets.egress.get(tap),
  );
  return { ...(ingress === undefined ? {} : { ingress }), ...(egress === undefined ? {} : { egress }) };
}

function direction(
  { limits, mtu }: PlannedPort,
  way: 'ingress' | 'egress',
  qdisc: Qdisc | undefined,
  packetsPerSecond: number | undefined,
): DirectionLimits | undefined {
  const { kind, bytesPerSecond = 0, burstBytes = 0 } = qdisc ?? {};
  if (kind !== 'tbf' && packetsPerSecond === undefined) return undefined;
  const wanted = bucketOf(bytesPerSecond, limits?.[way]?.burstBytes, mtu);
  // The kernel keeps what it was given, and rounds what it tells.
  const isAsWanted = wanted !== undefined && isToldOf(bytesPerSecond, wanted.burstBytes, burstBytes);
  return {
    ...(kind === 'tbf'
      ? { bytesPerSecond, burstBytes: isAsWanted ? wanted.burstBytes : Math.round(burstBytes) }
      : {}),
    ...(packetsPerSecond === undefined ? {} : { packetsPerSecond }),
  };
}
