/** An image: what an instance boots from. This far: a kernel and an initramfs, built on the spot by a recipe. */
import { z } from 'zod';
import { nameSchema, pageOf, pageQuery, recordHead } from './fields.ts';

export const imageSpecSchema = z
  .object({
    recipe: z.string().describe('The recipe it was built by.'),
    format: z.literal('kernel').describe('Booted by `-kernel` and `-initrd`.'),
  })
  .meta({ id: 'ImageSpec' });

export const imageStatusSchema = z
  .object({
    state: z.enum(['building', 'ready']),
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
    recipe: nameSchema.describe('`micro`: Debian’s cloud kernel with busybox and the guest agent.'),
    name: nameSchema.optional().describe('The recipe’s name when absent.'),
  })
  .meta({ id: 'ImageBuild' });

export const imageListQuery = z.strictObject(pageQuery);
export const imagePageSchema = pageOf(imageSchema, 'ImagePage');

export type Image = z.infer<typeof imageSchema>;
export type ImageBuild = z.infer<typeof imageBuildSchema>;
