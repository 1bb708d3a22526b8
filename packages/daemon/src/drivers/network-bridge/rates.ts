/**
 * How much may pass a port, as token buckets of the kernel (tc-tbf(8)) and as limits of nftables. Pure. Towards the guest its tap is throttled where it
 * sends; what comes from the guest is redirected to an interface of its own (ifb) and throttled there. A port without a rate has neither.
 */
import type { NetworkPlan, PlannedPort } from '@wirt/core';
import type { HostNames } from './names.ts';

export interface Bucket {
  readonly bytesPerSecond: number;
  readonly burstBytes: number;
  /** What waits for its turn; more is dropped. */
  readonly queueBytes: number;
}

export interface TapRates {
  readonly tap: string;
  readonly network: string;
  readonly instance: string;
  /** For people. */
  readonly what: string;
  /** By its own making a tap with many queues has no queueing discipline. */
  readonly isMultiQueue: boolean;
  readonly ingress?: Bucket;
  /** `through`: the interface on which it is throttled. */
  readonly egress?: Bucket & { readonly through: string };
}

const burstSeconds = 0.05;
/** What a guest leaves to be cut into packets (TSO), 64 KiB, and the headers of all of them: the longest that has to fit in at once. */
export const longestPacketBytes = 72 * 1024;
const leastBurstBytes = longestPacketBytes;
/** A number of the kernel's, of 32 bits; the schema's maximum. */
const mostBurstBytes = 4_000_000_000;
const queueSeconds = 0.05;
const leastQueueBytes = 128 * 1024;
const mostQueueBytes = 4 * 1024 * 1024;
/** Ethernet's header with a VLAN tag: what has no room in the bucket is never let pass. */
const headerBytes = 18;

export function bucketOf(
  bytesPerSecond: number | undefined,
  burstBytes: number | undefined,
  mtu: number,
): Bucket | undefined {
  if (bytesPerSecond === undefined || bytesPerSecond === 0) return undefined;
  const usual = Math.max(leastBurstBytes, Math.round(bytesPerSecond * burstSeconds));
  const burst = burstBytes === undefined || burstBytes === 0 ? usual : burstBytes;
  const queue = Math.round(bytesPerSecond * queueSeconds);
  return {
    bytesPerSecond,
    burstBytes: Math.min(mostBurstBytes, Math.max(burst, mtu + headerBytes)),
    queueBytes: Math.min(mostQueueBytes, Math.max(leastQueueBytes, queue)),
  };
}

/** Whether what comes from its guest is throttled by bytes, for which it needs an interface more. */
export function isShaped({ limits }: Pick<PlannedPort, 'limits'>): boolean {
  return (limits?.egress?.bytesPerSecond ?? 0) > 0;
}

/** Whether it is throttled by `tc` in either direction. */
export function hasRate(port: Pick<PlannedPort, 'limits'>): boolean {
  return isShaped(port) || (port.limits?.ingress?.bytesPerSecond ?? 0) > 0;
}

/** Of every port, by its tap. */
export function ratesOf(plan: Pick<NetworkPlan, 'ports'>, names: HostNames): Map<string, TapRates> {
  return new Map(
    plan.ports.map((port) => {
      const tap = names.port(port);
      const { limits, mtu } = port;
      const ingress = bucketOf(limits?.ingress?.bytesPerSecond, limits?.ingress?.burstBytes, mtu);
      const egress = bucketOf(limits?.egress?.bytesPerSecond, limits?.egress?.burstBytes, mtu);
      const rates: TapRates = {
        tap,
        network: port.network,
        instance: port.instance,
        what: `the tap of ${port.hostname} (${port.nic})`,
        isMultiQueue: port.queues > 1,
        ...(ingress === undefined ? {} : { ingress }),
        ...(egress === undefined ? {} : { egress: { ...egress, through: names.shaper(port) } }),
      };
      return [tap, rates];
    }),
  );
}

/** A limit of packets, as nftables keeps it. */
export interface PacketLimit {
  readonly packetsPerSecond: number;
  readonly burstPackets: number;
}

const packetBurstSeconds = 0.1;
const leastBurstPackets = 5;

export function packetLimitOf(packetsPerSecond: number | undefined): PacketLimit | undefined {
  if (packetsPerSecond === undefined || packetsPerSecond === 0) return undefined;
  const burstPackets = Math.max(leastBurstPackets, Math.round(packetsPerSecond * packetBurstSeconds));
  return { packetsPerSecond, burstPackets };
}
