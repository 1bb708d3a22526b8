/** Network cards of an instance: which network, which addresses, who may reach it. */
import * as z from 'zod';
import { nameSchema } from './fields.ts';
import { nicLimitsSchema } from './limits.ts';

export const nicModelSchema = z
  .enum(['virtio', 'e1000e', 'e1000', 'vmxnet3', 'rtl8139'])
  .describe('`virtio` is the fastest; the others are for guests without virtio drivers.');

const macSchema = z
  .string()
  .regex(/^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/, 'must be a unicast MAC address in lower case');

/** A port of the host that leads to a port of the guest. */
export const publishedPortSchema = z
  .strictObject({
    protocol: z.enum(['tcp', 'udp']).default('tcp'),
    hostAddress: z
      .union([z.ipv4(), z.ipv6()])
      .optional()
      .describe('Only there; by default at every address of the host.'),
    hostPort: z.int().min(1).max(65_535),
    guestPort: z.int().min(1).max(65_535),
  })
  .meta({ id: 'PublishedPort' });

const settings = {
  model: nicModelSchema.default('virtio'),
  securityGroups: z
    .array(nameSchema)
    .max(16)
    .default(['default'])
    .describe('What any of them allows is allowed; without any, nothing but replies comes in.'),
  publish: z.array(publishedPortSchema).max(64).default([]),
  floating: z
    .union([z.ipv4(), z.ipv6()])
    .optional()
    .describe('An address of the host’s network that stands for this card, in and out.'),
  antiSpoofing: z
    .boolean()
    .default(true)
    .describe('Whether only its own MAC and addresses may be used; off for routers and nested guests.'),
  queues: z
    .int()
    .min(1)
    .max(256)
    .optional()
    .describe('Pairs of queues; by default as many as vCPUs, up to 8, for `virtio`.'),
  limits: nicLimitsSchema.optional(),
  bootOrder: z.int().min(1).max(64).optional(),
};

const mac = macSchema.optional().describe('By default made from the instance’s id.');
const ipv4 = z.ipv4().optional().describe('Its address, kept as long as it has the card.');
const ipv6 = z.ipv6().optional();

export const nicSchema = z
  .strictObject({
    name: nameSchema.max(15),
    slot: z.int().min(0).max(7).describe('Its place among the ports of the machine.'),
    network: nameSchema,
    mac: macSchema,
    ipv4,
    ipv6,
    ...settings,
  })
  .meta({ id: 'Nic' });

/** What is asked for: what is absent is chosen. */
export const nicCreateSchema = z
  .strictObject({
    name: nameSchema.max(15).optional().describe('By default the first free of `nic0`, `nic1`, …'),
    network: nameSchema.default('default').describe('`default` is made on first use.'),
    mac,
    ipv4,
    ipv6,
    ...settings,
  })
  .meta({ id: 'NicCreate' });

/** Takes effect at once, also on a running guest. */
export const nicUpdateSchema = z
  .strictObject({
    securityGroups: settings.securityGroups.unwrap().optional(),
    publish: settings.publish.unwrap().optional().describe('Replaces all.'),
    floating: settings.floating.unwrap().nullable().optional().describe('null takes it back.'),
    antiSpoofing: z.boolean().optional(),
  })
  .meta({ id: 'NicUpdate' });

export type Nic = z.infer<typeof nicSchema>;
export type NicModel = z.infer<typeof nicModelSchema>;
export type NicCreate = z.infer<typeof nicCreateSchema>;
export type NicUpdate = z.infer<typeof nicUpdateSchema>;
export type PublishedPort = z.infer<typeof publishedPortSchema>;
