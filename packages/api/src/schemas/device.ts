/** The host's PCI devices as people see them, which of them an instance asks for, and what it has been lent. */
import * as z from 'zod';
import { idSchema, nameSchema, pageOf, pageQuery, recordHead } from './fields.ts';

/** The kernel writes domains of more than four digits where there are many. */
export const pciAddressSchema = z
  .string()
  .regex(
    /^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/,
    'must be a PCI address in full and in lower case, as in 0000:03:00.0',
  )
  .describe('Domain, bus, device and function, as `wirt host device ls` prints them.');

const mdevUuidSchema = z
  .string()
  .regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, 'must be a UUID in lower case')
  .describe('UUID of a mediated device that is there.');

const name = nameSchema.max(15).describe('Unique within the instance.');

/** Exactly one of `address`, `pool`, `mdev`. */
export const instanceDeviceSchema = z
  .union([
    z.strictObject({ name, address: pciAddressSchema }),
    z.strictObject({ name, pool: nameSchema.describe('Any free virtual function of this pool.') }),
    z.strictObject({ name, mdev: mdevUuidSchema }),
  ])
  .meta({ id: 'InstanceDevice' });

export const instanceDevicesSchema = z
  .array(instanceDeviceSchema)
  .max(8)
  .describe('Devices of the host that are given to the guest while it runs.');

/** Written down before the device is taken from the host, and gone when it is given back. */
export const deviceLeaseSchema = z
  .object({
    name,
    address: pciAddressSchema.describe('Of the device; of its parent, for a mediated device.'),
    mdev: mdevUuidSchema.optional(),
    iommuGroup: z.int(),
    formerDriver: z
      .string()
      .optional()
      .describe('Gets the device back; absent where it had none, and for mediated devices.'),
  })
  .meta({ id: 'DeviceLease' });

const useSchema = z.object({
  kind: z.enum(['root', 'disk', 'network', 'functions', 'mediated', 'vfio']),
  name: z.string(),
  reason: z.string().describe('Completes a sentence that begins with the name.'),
});

const leaseHolderSchema = z.object({
  instance: nameSchema,
  id: idSchema,
  device: z.string().describe('Name of the device in the instance.'),
  mdev: z.string().optional(),
});

export const hostDeviceSchema = z
  .object({
    address: pciAddressSchema,
    kind: z.enum(['network', 'storage', 'display', 'bridge', 'other']),
    classCode: z.int().describe('24 bits: base class, sub-class, programming interface.'),
    vendorId: z.string().describe('Four hexadecimal digits, as for deviceId.'),
    deviceId: z.string(),
    driver: z.string().optional(),
    iommuGroup: z.int().optional().describe('Absent: no IOMMU keeps it apart.'),
    groupMembers: z.array(z.string()).describe('Addresses of the others in its IOMMU group.'),
    numaNode: z.int().optional(),
    sriov: z.object({
      totalVfs: z.int().describe('How many virtual functions it can have; 0: none.'),
      numVfs: z.int(),
      vfs: z.array(z.string()),
      physicalFunction: z.string().optional().describe('Of a virtual function.'),
    }),
    mediatedTypes: z.array(
      z.object({
        id: z.string(),
        name: z.string().optional(),
        available: z.int(),
        deviceApi: z.string(),
      }),
    ),
    mediatedDevices: z.array(z.object({ uuid: z.string(), type: z.string() })),
    resettable: z.boolean(),
    inUse: z.array(useSchema).describe('What the host needs it for.'),
    stuck: z
      .string()
      .optional()
      .describe('What it was to be, as `unbound from igb`, when the kernel stopped answering.'),
    usable: z.boolean().describe('Whether a guest that starts now can be given it.'),
    why: z.string().optional().describe('Why not.'),
    hint: z.string().optional(),
    pool: z
      .object({
        name: nameSchema,
        count: z.int().optional().describe('Virtual functions that the record asks for.'),
        problem: z.string().optional().describe('Why they are not there.'),
      })
      .optional()
      .describe('Of a device that was split, and of its virtual functions.'),
    leasedTo: z.array(leaseHolderSchema).describe('Several only for mediated devices of it.'),
  })
  .meta({ id: 'HostDevice' });

export const hostDeviceListQuery = z.strictObject({
  ...pageQuery,
  kind: hostDeviceSchema.shape.kind.optional(),
  pool: nameSchema.optional().describe('Only virtual functions of this pool.'),
});

export const hostDevicePageSchema = pageOf(hostDeviceSchema, 'HostDevicePage');

export const virtualFunctionsSchema = z
  .strictObject({
    count: z.int().min(1).max(65_535),
    pool: nameSchema.describe('Made on first use; one pool can have functions of several devices.'),
  })
  .meta({ id: 'VirtualFunctions' });

/** Virtual functions that instances take from by the pool's name. Made again after a boot. */
export const devicePoolSchema = z
  .object({
    ...recordHead,
    spec: z.object({
      sources: z.array(z.object({ address: pciAddressSchema, count: z.int().min(1) })),
    }),
  })
  .meta({ id: 'DevicePool' });

export type InstanceDevice = z.infer<typeof instanceDeviceSchema>;
export type DeviceLease = z.infer<typeof deviceLeaseSchema>;
export type HostDevice = z.infer<typeof hostDeviceSchema>;
export type HostDeviceListQuery = z.infer<typeof hostDeviceListQuery>;
export type VirtualFunctions = z.infer<typeof virtualFunctionsSchema>;
export type DevicePool = z.infer<typeof devicePoolSchema>;
