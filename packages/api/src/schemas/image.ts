/** An image: what instances are made from. Built by a recipe, imported or pulled; its files are stored by their content. */
import * as z from 'zod';
import { nameSchema, pageOf, pageQuery, recordHead } from './fields.ts';

export const imageSpecSchema = z
  .object({
    recipe: z.string().optional().describe('The recipe it was built by.'),
    source: z.string().optional().describe('The file, address or catalogue entry it came from.'),
    format: z
      .enum(['kernel', 'qcow2', 'raw', 'iso'])
      .describe(
        '`kernel`: booted by `-kernel` and `-initrd`; `qcow2`, `raw`: a disk; `iso`: a medium for a CD drive.',
      ),
  })
  .meta({ id: 'ImageSpec' });

export const imageStatusSchema = z
  .object({
    state: z.enum(['building', 'ready']),
    sha256: z
      .string()
      .optional()
      .describe('Of the disk as it is stored; images of the same content share it.'),
    file: z.string().optional().describe('File name of the disk in the image’s directory.'),
    virtualSizeBytes: z.int().optional().describe('Size of the disk that a guest sees.'),
    firmware: z
      .array(z.enum(['bios', 'uefi']))
      .optional()
      .describe('By what it boots, where that is known.'),
    cloudInit: z.boolean().optional().describe('Whether cloud-init is in it.'),
    kernel: z.string().optional().describe('File name of the kernel in the image’s directory.'),
    initrd: z.string().optional(),
    kernelArgs: z.string().optional(),
    sizeBytes: z.int().optional(),
    description: z.string().optional(),
  })
  .meta({ id: 'ImageStatus' });

export const imageSchema = z
  .object({ ...recordHead, spec: imageSpecSchema, status: imageStatusSchema })
  .meta({ id: 'Image' });

export const imageBuildSchema = z
  .strictObject({
    recipe: nameSchema.describe(
      '`micro`: Debian’s cloud kernel with busybox and the guest agent; `debian-12`: Debian with cloud-init.',
    ),
    name: nameSchema.optional().describe('The recipe’s name when absent.'),
  })
  .meta({ id: 'ImageBuild' });

export const imageListQuery = z.strictObject(pageQuery);
export const imagePageSchema = pageOf(imageSchema, 'ImagePage');

export type Image = z.infer<typeof imageSchema>;
export type ImageBuild = z.infer<typeof imageBuildSchema>;
