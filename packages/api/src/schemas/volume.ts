/** A volume: a disk in a pool. Its data lie in layers, of which one is written and the others are frozen. */
import * as z from 'zod';
import {
  idSchema,
  labelsSchema,
  nameSchema,
  pageOf,
  pageQuery,
  recordHead,
  referenceSchema,
} from './fields.ts';

/** 64 TiB: what the L1 table of a qcow2 with 64 KiB clusters can address within QEMU's own limit of 32 MiB. */
export const maxVolumeBytes = 64 * 1024 ** 4;

export const volumeSizeSchema = z
  .int()
  .min(512)
  .max(maxVolumeBytes)
  .multipleOf(512)
  .describe('Size that the guest sees, in bytes; whole sectors of 512.');

export const volumeFormatSchema = z
  .enum(['qcow2', 'raw'])
  .describe(
    '`qcow2` takes space as it is written; `raw` too where the file system has holes, and has the least overhead.',
  );

/** What a layer lies on: a layer of this or another volume, or an image. */
export const layerParentSchema = z.union([
  z.object({ volume: idSchema, layer: idSchema }),
  z.object({ image: idSchema }),
]);

export const volumeLayerSchema = z
  .object({
    id: idSchema,
    format: volumeFormatSchema,
    sizeBytes: z.int(),
    parent: layerParentSchema.optional(),
  })
  .meta({ id: 'VolumeLayer' });

/** What a volume was made from. */
export const volumeOriginSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('empty') }),
  z.object({ kind: z.literal('image'), image: idSchema, mode: z.enum(['linked', 'full']) }),
  z.object({ kind: z.literal('volume'), volume: idSchema, mode: z.enum(['linked', 'full']) }),
  z.object({ kind: z.literal('file'), file: z.string() }),
]);

export const volumeSpecSchema = z
  .object({
    pool: nameSchema.describe('Name of the pool.'),
    format: volumeFormatSchema,
    sizeBytes: volumeSizeSchema,
    origin: volumeOriginSchema,
  })
  .meta({ id: 'VolumeSpec' });

export const volumeStatusSchema = z
  .object({
    state: z.enum(['creating', 'ready', 'removing']),
    attachment: z
      .object({ instance: idSchema, disk: nameSchema })
      .optional()
      .describe('The one instance that has it, and as which disk.'),
    active: idSchema.describe('The layer that is written.'),
    layers: z.array(volumeLayerSchema),
    next: idSchema
      .optional()
      .describe('The layer that is about to become the active one, while the volume is being frozen.'),
    allocatedBytes: z.int().optional().describe('What it takes in the pool, when that was looked at.'),
  })
  .meta({ id: 'VolumeStatus' });

export const volumeSchema = z
  .object({ ...recordHead, spec: volumeSpecSchema, status: volumeStatusSchema })
  .meta({ id: 'Volume' });

export const volumeSourceSchema = z
  .discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('empty') }),
    z.strictObject({
      kind: z.literal('image'),
      image: referenceSchema,
      mode: z.enum(['linked', 'full']).default('linked'),
    }),
    z.strictObject({
      kind: z.literal('volume'),
      volume: referenceSchema,
      mode: z.enum(['linked', 'full']).default('linked'),
    }),
  ])
  .describe('`linked` shares the frozen data of its source and is made in a moment; `full` copies them.');

export const volumeCreateSchema = z
  .strictObject({
    name: nameSchema,
    project: nameSchema.default('default'),
    labels: labelsSchema.default({}),
    pool: nameSchema.default('default'),
    format: volumeFormatSchema.default('qcow2').describe('A linked clone is always qcow2.'),
    sizeBytes: volumeSizeSchema
      .optional()
      .describe('Needed for an empty one; else at least, and by default, the source’s.'),
    source: volumeSourceSchema.default({ kind: 'empty' }),
  })
  .meta({ id: 'VolumeCreate' });

export const volumeUpdateSchema = z
  .strictObject({ name: nameSchema.optional(), labels: labelsSchema.optional() })
  .meta({ id: 'VolumeUpdate' });

export const volumeResizeSchema = z
  .strictObject({ sizeBytes: volumeSizeSchema })
  .meta({ id: 'VolumeResize' });

export const volumeListQuery = z.strictObject({
  ...pageQuery,
  project: nameSchema.default('default'),
  pool: nameSchema.optional(),
  instance: referenceSchema.optional().describe('Only those attached to this instance.'),
});

export const volumePageSchema = pageOf(volumeSchema, 'VolumePage');

export type Volume = z.infer<typeof volumeSchema>;
export type VolumeLayer = z.infer<typeof volumeLayerSchema>;
export type LayerParent = z.infer<typeof layerParentSchema>;
export type VolumeOrigin = z.infer<typeof volumeOriginSchema>;
export type VolumeFormat = z.infer<typeof volumeFormatSchema>;
export type VolumeCreate = z.infer<typeof volumeCreateSchema>;
export type VolumeSource = z.infer<typeof volumeSourceSchema>;
export type VolumeUpdate = z.infer<typeof volumeUpdateSchema>;
export type VolumeResize = z.infer<typeof volumeResizeSchema>;
export type VolumeListQuery = z.infer<typeof volumeListQuery>;
