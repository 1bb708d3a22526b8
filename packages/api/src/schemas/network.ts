/** Networks: where the network cards of instances are plugged in, their subnets, and who is on them. */
import * as z from 'zod';
import { idSchema, labelsSchema, nameSchema, pageOf, pageQuery, recordHead, timeSchema } from './fields.ts';

export const networkKinds = ['nat', 'isolated', 'routed', 'bridged'] as const;

const interfaceName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_.:-]{0,14}$/, 'must be the name of a network interface (`ip link`)');

/** A subnet in CIDR form; that it is a network address and of a fitting size is checked with the host’s routes. */
const cidrV4 = z.cidrv4().describe('IPv4 subnet in CIDR notation, /8 to /29.');
const cidrV6 = z.cidrv6().describe('IPv6 subnet in CIDR notation; /64, as router advertisements want it.');

export const uplinkSchema = z
  .strictObject({
    interface: interfaceName.describe('A bridge of the host, or an interface that has no addresses.'),
    vlan: z.int().min(1).max(4094).optional().describe('IEEE 802.1Q tag.'),
  })
  .meta({ id: 'Uplink' });

export const networkSpecSchema = z
  .strictObject({
    kind: z
      .enum(networkKinds)
      .default('nat')
      .describe(
        '`nat`: out through the host’s address; `isolated`: only among themselves; `routed`: by routes that others ' +
          'have to this host; `bridged`: on the uplink, which gives addresses itself.',
      ),
    ipv4: cidrV4.nullable().optional().describe('By default a free /24; null for none.'),
    ipv6: cidrV6.nullable().optional().describe('By default a free unique local /64; null for none.'),
    uplink: uplinkSchema.optional().describe('Only for `bridged`.'),
    mtu: z.int().min(1280).max(65_521).default(1500),
    domain: z
      .string()
      .max(63)
      .regex(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/)
      .default('wirt')
      .describe('Guests find each other as `NAME.DOMAIN`.'),
    dnsForward: z
      .boolean()
      .default(true)
      .describe('Whether other names are asked for at the host’s resolvers.'),
  })
  .meta({ id: 'NetworkSpec' });

export const repairSchema = z
  .object({ at: timeSchema, what: z.string().describe('What somebody else had changed, and was mended.') })
  .meta({ id: 'Repair' });

export const networkStatusSchema = z
  .object({
    driver: z
      .enum(['bridge', 'user'])
      .describe('`bridge`: in the host’s kernel; `user`: by a process beside each guest, without root.'),
    state: z.enum(['ready', 'failed']),
    message: z.string().optional().describe('Why it has failed.'),
    interface: z.string().optional().describe('The bridge on the host.'),
    gateways: z.array(z.string()).describe('The host’s own addresses on it.'),
    repair: repairSchema.optional(),
  })
  .meta({ id: 'NetworkStatus' });

export const networkSchema = z
  .object({ ...recordHead, spec: networkSpecSchema, status: networkStatusSchema })
  .meta({ id: 'Network' });

export const networkCreateSchema = z
  .strictObject({
    name: nameSchema,
    project: nameSchema.default('default'),
    labels: labelsSchema.default({}),
    spec: networkSpecSchema.default({ kind: 'nat', mtu: 1500, domain: 'wirt', dnsForward: true }),
  })
  .meta({ id: 'NetworkCreate' });

export const countersSchema = z
  .object({
    receivedBytes: z.int(),
    receivedPackets: z.int(),
    receivedDropped: z.int(),
    sentBytes: z.int(),
    sentPackets: z.int(),
    sentDropped: z.int(),
  })
  .meta({ id: 'NicCounters' })
  .describe('As the guest sees it: `received` is what it got.');

/** A network card on a network, as the host has it. */
export const networkPortSchema = z
  .object({
    instance: nameSchema,
    instanceId: idSchema,
    nic: z.string(),
    mac: z.string(),
    addresses: z.array(z.string()),
    securityGroups: z.array(z.string()),
    interface: z.string().optional().describe('Its end on the host, while the guest runs.'),
    leases: z
      .array(z.object({ address: z.string(), until: timeSchema.optional() }))
      .describe('What it was given by DHCP and has not given back.'),
    counters: countersSchema.optional(),
    spoofed: z.int().optional().describe('Packets dropped that claimed to be of another.'),
  })
  .meta({ id: 'NetworkPort' });

export const networkPortsSchema = z
  .object({
    items: z.array(networkPortSchema),
    rules: z
      .array(z.object({ group: nameSchema, rule: z.string(), packets: z.int(), bytes: z.int() }))
      .describe('How often each rule of the groups on it let something pass.'),
    shadows: z
      .array(
        z.object({
          table: z.string().describe('Family and name of the nftables table that it is in.'),
          why: z.string(),
          hint: z.string().describe('What lets the network pass there.'),
        }),
      )
      .optional()
      .describe('Chains of others on the host that drop what Wirt lets pass; left out where there are none.'),
  })
  .meta({ id: 'NetworkPorts' });

export const networkListQuery = z.strictObject({ ...pageQuery, project: nameSchema.default('default') });
export const networkPageSchema = pageOf(networkSchema, 'NetworkPage');

/** An end of a traced connection: an instance, or an address outside. */
const traceEndSchema = z.string().min(1).max(63).describe('Name or id of an instance, or an IP address.');

export const networkTraceSchema = z
  .strictObject({
    from: traceEndSchema,
    to: traceEndSchema,
    protocol: z.enum(['tcp', 'udp', 'icmp']).default('tcp'),
    port: z.int().min(1).max(65_535).optional(),
    family: z.enum(['ipv4', 'ipv6']).default('ipv4'),
    live: z.boolean().default(false).describe('Send a packet and see whether it arrives.'),
  })
  .meta({ id: 'NetworkTrace' });

export const networkTraceResultSchema = z
  .object({
    verdict: z.enum(['passes', 'dropped']),
    from: z.string(),
    to: z.string(),
    steps: z
      .array(
        z.object({
          at: z.string().describe('Where: a card, a network, a security group, the host.'),
          verdict: z.enum(['passes', 'dropped']),
          rule: z.string().optional().describe('Id of the rule that decides.'),
          why: z.string(),
        }),
      )
      .describe('In the order of the packet’s way; the last one decides.'),
    live: z
      .object({
        verdict: z.enum(['passes', 'dropped']),
        why: z.string().describe('What was sent, and what came of it.'),
        expected: z
          .enum(['passes', 'dropped'])
          .describe(
            'What the records say of the packet that was sent: it is another card’s than the first end’s, of the same groups, and rules may name addresses.',
          ),
      })
      .optional(),
  })
  .meta({ id: 'NetworkTraceResult' });

export type Network = z.infer<typeof networkSchema>;
export type NetworkKind = (typeof networkKinds)[number];
export type NetworkSpec = z.infer<typeof networkSpecSchema>;
export type NetworkCreate = z.infer<typeof networkCreateSchema>;
export type NetworkListQuery = z.infer<typeof networkListQuery>;
export type NetworkPort = z.infer<typeof networkPortSchema>;
export type NetworkPorts = z.infer<typeof networkPortsSchema>;
export type NicCounters = z.infer<typeof countersSchema>;
export type NetworkTrace = z.infer<typeof networkTraceSchema>;
export type NetworkTraceResult = z.infer<typeof networkTraceResultSchema>;
