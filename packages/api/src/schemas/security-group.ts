/** Security groups, as in EC2 and OpenStack: stateful, rules only allow, and what no rule allows is dropped. */
import * as z from 'zod';
import { idSchema, labelsSchema, nameSchema, pageOf, pageQuery, recordHead } from './fields.ts';

const port = z.int().min(0).max(65_535);

export const securityRuleCreateSchema = z
  .strictObject({
    direction: z.enum(['ingress', 'egress']).default('ingress'),
    protocol: z
      .enum(['any', 'tcp', 'udp', 'icmp', 'icmpv6'])
      .default('tcp')
      .describe('`icmp` for IPv4, `icmpv6` for IPv6.'),
    fromPort: port.optional().describe('First port; for ICMP the type. Without it, all.'),
    toPort: port
      .optional()
      .describe('Last port; for ICMP the code. By default `fromPort`; every code for ICMP.'),
    cidr: z
      .union([z.cidrv4(), z.cidrv6()])
      .optional()
      .describe('The other end. Without `cidr` and `group`: anybody, IPv4 and IPv6.'),
    group: nameSchema.optional().describe('The other end is a card of this security group.'),
    description: z.string().max(255).optional(),
  })
  .refine(({ cidr, group }) => cidr === undefined || group === undefined, {
    message: 'cidr and group exclude each other',
  })
  .refine(({ protocol, fromPort }) => protocol !== 'any' || fromPort === undefined, {
    message: 'a rule for any protocol has no ports',
    path: ['fromPort'],
  })
  .refine(({ fromPort, toPort }) => toPort === undefined || fromPort !== undefined, {
    message: 'toPort needs fromPort',
    path: ['toPort'],
  })
  .refine(
    ({ protocol, fromPort, toPort }) =>
      !protocol.startsWith('icmp') || ((fromPort ?? 0) <= 255 && (toPort ?? 0) <= 255),
    { message: 'types and codes of ICMP are 0 to 255', path: ['fromPort'] },
  )
  .refine(
    ({ protocol, fromPort, toPort }) =>
      protocol.startsWith('icmp') || fromPort === undefined || toPort === undefined || fromPort <= toPort,
    { message: 'toPort is below fromPort', path: ['toPort'] },
  )
  .meta({ id: 'SecurityRuleCreate' });

export const securityRuleSchema = securityRuleCreateSchema
  .safeExtend({ id: idSchema })
  .meta({ id: 'SecurityRule' });

const rules = z.array(securityRuleCreateSchema).max(1000);

export const securityGroupSchema = z
  .object({
    ...recordHead,
    spec: z.object({
      description: z.string().max(255),
      rules: z.array(securityRuleSchema),
    }),
    status: z.object({ members: z.int().describe('Network cards that have it.') }),
  })
  .meta({ id: 'SecurityGroup' });

export const securityGroupCreateSchema = z
  .strictObject({
    name: nameSchema,
    project: nameSchema.default('default'),
    labels: labelsSchema.default({}),
    description: z.string().max(255).default(''),
    rules: rules
      .optional()
      .describe('By default everything may go out, and nothing but replies comes in, as in EC2.'),
  })
  .meta({ id: 'SecurityGroupCreate' });

export const securityGroupUpdateSchema = z
  .strictObject({
    description: z.string().max(255).optional(),
    labels: labelsSchema.optional().describe('Replaces all labels.'),
    rules: rules.optional().describe('Replaces all rules.'),
  })
  .meta({ id: 'SecurityGroupUpdate' });

export const securityGroupListQuery = z.strictObject({
  ...pageQuery,
  project: nameSchema.default('default'),
});
export const securityGroupPageSchema = pageOf(securityGroupSchema, 'SecurityGroupPage');

export type SecurityRule = z.infer<typeof securityRuleSchema>;
export type SecurityRuleCreate = z.infer<typeof securityRuleCreateSchema>;
export type SecurityGroup = z.infer<typeof securityGroupSchema>;
export type SecurityGroupCreate = z.infer<typeof securityGroupCreateSchema>;
export type SecurityGroupUpdate = z.infer<typeof securityGroupUpdateSchema>;
export type SecurityGroupListQuery = z.infer<typeof securityGroupListQuery>;
