/** The way in from other hypervisors, and out again: plans of imports, and what is exported where. */
import * as z from 'zod';
import { labelsSchema, nameSchema, referenceSchema } from './fields.ts';

export const hostPathSchema = z
  .string()
  .max(4096)
  .regex(/^\/[^\0]*$/, 'must be an absolute path on the machine of wirtd')
  .describe('Absolute path on the machine where wirtd runs.');

export const diskFileFormatSchema = z.enum(['qcow2', 'raw', 'vmdk', 'vpc', 'vhdx', 'vdi', 'iso']);
export const compressionSchema = z.enum(['none', 'gzip', 'xz', 'zstd']);

export const importCreateSchema = z
  .strictObject({
    path: hostPathSchema,
    format: z
      .enum(['auto', 'ova', 'ovf', 'libvirt', 'xl', 'disk'])
      .default('auto')
      .describe('What the file is; `auto` goes by its contents and name, and says what it took it for.'),
    diskFormat: diskFileFormatSchema
      .optional()
      .describe('For a bare disk: its format, which is then checked.'),
    name: nameSchema.optional(),
    project: nameSchema.default('default'),
    pool: nameSchema.default('default'),
    cpus: z.int().min(1).max(4096).optional(),
    memoryMib: z.int().min(32).optional(),
    firmware: z.enum(['bios', 'uefi']).optional(),
    start: z
      .boolean()
      .default(false)
      .describe(
        'Start it: the operation ends when it runs. When that fails, so does the operation, and the machine stays imported.',
      ),
    dryRun: z
      .boolean()
      .default(false)
      .describe(
        'For a plan that no import follows: compressed disks are unpacked to look into them. An import with it is refused.',
      ),
  })
  .meta({ id: 'ImportCreate' });

export const importNoteSchema = z
  .object({
    setting: z.string(),
    value: z.string(),
    reason: z.string(),
    effect: z.enum(['dropped', 'changed', 'hint']),
  })
  .meta({ id: 'ImportNote' });

/** What an import will make. */
export const importPlanSchema = z
  .object({
    source: z.string().describe('What the file was taken for.'),
    name: nameSchema,
    cpus: z.int(),
    memoryMib: z.int(),
    firmware: z.enum(['bios', 'uefi']),
    disks: z.array(
      z.object({
        name: nameSchema,
        device: z.enum(['disk', 'cdrom']),
        file: z.string().optional(),
        format: diskFileFormatSchema.optional(),
        sizeBytes: z.int().optional(),
        bus: z.string(),
        bootOrder: z.int().optional(),
      }),
    ),
    nics: z.array(z.object({ mac: z.string().optional(), model: z.string() })),
    pool: nameSchema,
    neededBytes: z
      .int()
      .describe('What the disks take of the pool at most, as far as they could be looked into.'),
    notes: z.array(importNoteSchema).describe('Every setting that is not carried over as it was, and why.'),
  })
  .meta({ id: 'ImportPlan' });

export const exportCreateSchema = z
  .strictObject({
    format: z.enum(['ova', 'libvirt', 'qcow2', 'raw']),
    path: hostPathSchema.describe(
      'The file to write, which must not be there; for `libvirt`, and for several disks, the directory.',
    ),
  })
  .meta({ id: 'ExportCreate' });

export const imageImportSchema = z
  .strictObject({
    name: nameSchema,
    path: hostPathSchema.optional(),
    url: z
      .url({ protocol: /^https?$/ })
      .max(4096)
      .optional(),
    sha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .optional()
      .describe('Of the file as it is fetched; it must match.'),
    format: diskFileFormatSchema
      .optional()
      .describe('What the disk is; it must be that. Without it, what it is found to be.'),
    compression: compressionSchema.optional(),
    labels: labelsSchema.default({}),
  })
  .refine(({ path, url }) => (path === undefined) !== (url === undefined), 'must have either path or url')
  .meta({ id: 'ImageImport' });

export const imagePullSchema = z
  .strictObject({
    image: z
      .string()
      .max(200)
      .regex(/^[a-z0-9][a-z0-9._:/-]*$/i)
      .describe('Name in the catalogue, such as `ubuntu/24.04`; `SOURCE:NAME` names the catalogue too.'),
    name: nameSchema.optional(),
  })
  .meta({ id: 'ImagePull' });

export const diskExportSchema = z
  .strictObject({
    format: z.enum(['qcow2', 'raw', 'vmdk', 'vpc', 'vhdx', 'vdi']).default('qcow2'),
    path: hostPathSchema,
  })
  .meta({ id: 'DiskExport' });

export const snapshotExportSchema = z
  .strictObject({
    format: z.enum(['qcow2', 'raw', 'vmdk', 'vpc', 'vhdx', 'vdi']).default('qcow2'),
    path: hostPathSchema.describe('The file; for an instance with several disks the directory.'),
    disk: referenceSchema.optional().describe('Only this disk.'),
  })
  .meta({ id: 'SnapshotExport' });

export type ImportCreate = z.infer<typeof importCreateSchema>;
export type ImportNote = z.infer<typeof importNoteSchema>;
export type ImportPlan = z.infer<typeof importPlanSchema>;
export type ExportCreate = z.infer<typeof exportCreateSchema>;
export type ImageImport = z.infer<typeof imageImportSchema>;
export type ImagePull = z.infer<typeof imagePullSchema>;
export type DiskExport = z.infer<typeof diskExportSchema>;
export type SnapshotExport = z.infer<typeof snapshotExportSchema>;
export type DiskFileFormat = z.infer<typeof diskFileFormatSchema>;
export type Compression = z.infer<typeof compressionSchema>;
