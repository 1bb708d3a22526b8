/** What of the host is promised to guests, and up to what it may be; and its processors and nodes as guests are placed on them. */
import * as z from 'zod';
import { nameSchema } from './fields.ts';

const factor = (what: string) =>
  z
    .number()
    .min(0.1)
    .max(1000)
    .describe(`How much ${what} may be promised, as a multiple of what the host has.`);

export const hostSettingsSchema = z
  .strictObject({
    cpuOvercommit: factor('vCPUs'),
    memoryOvercommit: factor('memory'),
    poolOvercommit: factor('space of each pool'),
  })
  .meta({ id: 'HostSettings' });

export const hostSettingsUpdateSchema = hostSettingsSchema.partial().meta({ id: 'HostSettingsUpdate' });

export const hostCapacitySchema = z
  .object({
    settings: hostSettingsSchema,
    cpus: z.object({
      online: z.int(),
      /** With the factor. */
      promisable: z.int().describe('vCPUs that may be promised.'),
      promised: z
        .int()
        .describe('vCPUs of guests that run, or are being started, but of those that have processors alone.'),
      dedicated: z.string().describe('Processors that single guests have alone, such as `2-3`.'),
    }),
    memory: z.object({
      totalMib: z.int(),
      availableMib: z.int().describe('As the kernel has it now.'),
      promisableMib: z.int(),
      promisedMib: z.int().describe('To guests that run or are being started, with what their QEMU needs.'),
      reservedMib: z.int().describe('Of it, what guests have a reservation of.'),
      hugePagesMib: z.int().describe('In pools of huge pages, and so nobody’s who does not ask for them.'),
    }),
    hugePages: z.array(
      z.object({
        node: z.int(),
        sizeKib: z.int(),
        total: z.int(),
        free: z.int().describe('As the kernel has it now.'),
        promised: z.int().describe('To guests; not all of them may be in use yet.'),
      }),
    ),
    pools: z.array(
      z.object({
        name: nameSchema,
        capacityBytes: z.int(),
        allocatedBytes: z.int(),
        promisableBytes: z.int().describe('With the factor.'),
        promisedBytes: z
          .int()
          .describe('The sizes of its volumes, and of those of other pools on the same file system.'),
        runningBytes: z.int().describe('Of it, those of guests that run or are being started.'),
      }),
    ),
  })
  .meta({ id: 'HostCapacity' });

export const hostTopologySchema = z
  .object({
    nodes: z.array(
      z.object({
        node: z.int(),
        cpus: z.string(),
        totalMib: z.int(),
        freeMib: z.int(),
        distances: z.array(z.object({ node: z.int(), distance: z.int() })),
        hugePages: z.array(z.object({ sizeKib: z.int(), total: z.int(), free: z.int() })),
        instances: z.array(nameSchema).describe('Those that are placed on it.'),
      }),
    ),
    cpus: z.array(
      z.object({
        cpu: z.int(),
        node: z.int(),
        socket: z.int(),
        core: z.int().describe('Threads of one core have the same.'),
        dedicatedTo: nameSchema.optional(),
      }),
    ),
  })
  .meta({ id: 'HostTopology' });

export type HostSettings = z.infer<typeof hostSettingsSchema>;
export type HostSettingsUpdate = z.infer<typeof hostSettingsUpdateSchema>;
export type HostCapacity = z.infer<typeof hostCapacitySchema>;
export type HostTopologyView = z.infer<typeof hostTopologySchema>;
