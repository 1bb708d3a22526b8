/** What cloud-init in the guest is given, by a NoCloud seed or the metadata service. A password comes as its crypt(3) hash only. */
import * as z from 'zod';
import { nameSchema } from './fields.ts';

const oneLine = z
  .string()
  .max(16_384)
  .regex(/^[^\0\r\n]*$/, 'must be one line');

const datasource = z
  .enum(['seed', 'metadata'])
  .default('seed')
  .describe(
    '`seed`: from a drive that only the guest’s root reads (NoCloud); `metadata`: over the network from 169.254.169.254, by the ' +
      'datasource Ec2, for which its firmware tells the guest that it is in EC2. No password and no networkConfig go that way.',
  );

export const cloudInitSchema = z
  .strictObject({
    datasource,
    hostname: nameSchema.optional().describe('By default the instance’s name.'),
    sshKeys: z
      .array(oneLine.min(16))
      .max(64)
      .default([])
      .describe('OpenSSH public keys for the default user.'),
    passwordHash: z
      .string()
      .max(256)
      .regex(/^\$(1|2[aby]|5|6|7|y|gy)\$[!-9;-~]+$/, 'must be a crypt(3) hash')
      .optional()
      .describe('Password of the default user, hashed (crypt(5)).'),
    user: z
      .string()
      .regex(/^[a-z_][a-z0-9_-]{0,31}$/, 'must be a user name')
      .optional()
      .describe('The user that the password is for; by default the image’s default user.'),
    userData: z
      .string()
      .max(1_048_576)
      .optional()
      .describe(
        'Handed to cloud-init as it is. All programs in the guest can ask the metadata service for it.',
      ),
    networkConfig: z
      .string()
      .max(262_144)
      .optional()
      .describe('cloud-init network configuration, version 1 or 2.'),
  })
  .meta({ id: 'CloudInit' });

/** What of it is shown again: no secrets, and no more than is needed to see what the guest was told. */
export const cloudInitShownSchema = z
  .object({
    datasource,
    hostname: nameSchema,
    user: z.string().optional(),
    sshKeys: z.array(z.string()),
    password: z.boolean().describe('Whether a password was set.'),
    userData: z.boolean().describe('Whether user-data was given.'),
    networkConfig: z.boolean().describe('Whether a network configuration was given.'),
  })
  .meta({ id: 'CloudInitShown' });

export type CloudInitShown = z.infer<typeof cloudInitShownSchema>;
export type CloudInit = z.infer<typeof cloudInitSchema>;
