/** Disks and media of an instance: which volume or image is in which drive, on which bus, in which place of the boot order. */
import * as z from 'zod';
import { idSchema, nameSchema, referenceSchema } from './fields.ts';
import { throttleSchema } from './limits.ts';
import { volumeFormatSchema, volumeSizeSchema } from './volume.ts';

export const diskBusSchema = z
  .enum(['virtio', 'virtio-scsi', 'sata', 'nvme', 'pvscsi', 'lsi'])
  .describe(
    '`virtio` is the fastest; `sata`, `nvme`, `pvscsi` and `lsi` are for guests without virtio drivers.',
  );

const bootOrder = z.int().min(1).max(64).describe('Lower is tried first; what has none is not booted from.');

const drive = {
  name: nameSchema
    .max(20)
    .describe('Name of the disk within the instance; the guest sees it as serial number.'),
  bus: diskBusSchema,
  bootOrder: bootOrder.optional(),
};

const slot = z
  .int()
  .min(0)
  .max(31)
  .describe('Its place among the ports of the machine, kept while it is attached.');

export const volumeDiskSchema = z.strictObject({
  ...drive,
  slot,
  device: z.literal('disk'),
  volume: idSchema,
  readOnly: z.boolean(),
  limits: throttleSchema.optional(),
  deleteOnTermination: z
    .boolean()
    .describe('Remove the volume with the instance (EC2’s DeleteOnTermination).'),
});

export const cdromDiskSchema = z.strictObject({
  ...drive,
  slot,
  device: z.literal('cdrom'),
  image: nameSchema.optional().describe('An `iso` image; without it the tray is empty.'),
});

export const diskSchema = z
  .discriminatedUnion('device', [volumeDiskSchema, cdromDiskSchema])
  .meta({ id: 'Disk' });

/** What may be asked for when an instance is made: a disk with a volume that is there, or one to be made for it. */
export const diskCreateSchema = z
  .discriminatedUnion('device', [
    z.strictObject({
      ...drive,
      bus: diskBusSchema.default('virtio'),
      device: z.literal('disk'),
      volume: referenceSchema.optional().describe('A volume that is there; else a new one is made.'),
      sizeBytes: volumeSizeSchema.optional(),
      pool: nameSchema.default('default'),
      format: volumeFormatSchema.default('qcow2'),
      readOnly: z.boolean().default(false),
      limits: throttleSchema.optional(),
      deleteOnTermination: z
        .boolean()
        .optional()
        .describe('By default true for a volume made here, false for one that was there.'),
    }),
    z.strictObject({
      ...drive,
      bus: diskBusSchema.default('sata'),
      device: z.literal('cdrom'),
      image: nameSchema.optional(),
    }),
  ])
  .meta({ id: 'DiskCreate' });

/** The disk that an instance made from a disk image boots from. */
export const rootDiskSchema = z
  .strictObject({
    sizeBytes: volumeSizeSchema.optional().describe('At least the image’s; by default the image’s.'),
    pool: nameSchema.default('default'),
    mode: z.enum(['linked', 'full']).default('linked'),
    bus: diskBusSchema.default('virtio'),
    limits: throttleSchema.optional(),
    deleteOnTermination: z.boolean().default(true),
  })
  .meta({ id: 'RootDisk' });

export const diskAttachSchema = z
  .strictObject({
    volume: referenceSchema,
    name: nameSchema.max(20).optional().describe('By default the first free of `disk1`, `disk2`, …'),
    bus: diskBusSchema.default('virtio').describe('Live: `virtio` and `nvme`.'),
    readOnly: z.boolean().default(false),
    limits: throttleSchema.optional(),
    bootOrder: bootOrder.optional(),
    deleteOnTermination: z.boolean().default(false),
  })
  .meta({ id: 'DiskAttach' });

export const mediumChangeSchema = z
  .strictObject({ image: nameSchema.nullable().describe('The `iso` image to insert; null ejects.') })
  .meta({ id: 'MediumChange' });

export type Disk = z.infer<typeof diskSchema>;
export type VolumeDisk = z.infer<typeof volumeDiskSchema>;
export type CdromDisk = z.infer<typeof cdromDiskSchema>;
export type DiskBus = z.infer<typeof diskBusSchema>;
export type DiskCreate = z.infer<typeof diskCreateSchema>;
export type RootDisk = z.infer<typeof rootDiskSchema>;
export type DiskAttach = z.infer<typeof diskAttachSchema>;
export type MediumChange = z.infer<typeof mediumChangeSchema>;
