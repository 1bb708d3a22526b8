/** Processors that guests can have: what QEMU and an accelerator make of this machine’s, and what several machines have in common. */
import * as z from 'zod';

const featureSchema = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, 'must be a feature’s name in QEMU');
const featuresSchema = z.array(featureSchema).max(2048);
const modelNameSchema = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'must be a model’s name in QEMU');

/**
 * A model and what is added to it or taken out, as QEMU writes it: `EPYC-v1,+avx2,-svm`. Nothing else that QEMU's `-cpu` takes can be
 * written so.
 */
export const cpuModelSchema = z
  .string()
  .max(8192)
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}(,[+-][a-z0-9][a-z0-9._-]{0,63})*$/,
    'must be a CPU model’s name as in `qemu-system-x86_64 -cpu help`, with features after it such as ,+avx2,-svm',
  );

export const hostCpuModelsSchema = z
  .object({
    architecture: z.string().max(32),
    accelerator: z.enum(['kvm', 'tcg']),
    qemuVersion: z.string().max(64),
    vendor: z.string().max(32).describe('As CPUID tells it.'),
    features: featuresSchema.describe('What a guest can have here and take along when it migrates.'),
    unmigratable: featuresSchema.describe('What a guest can have here besides, and not take along.'),
    models: z
      .array(
        z.object({
          name: modelNameSchema,
          vendor: z.string().max(32),
          features: featuresSchema,
          unavailable: featuresSchema.describe('Those of its features that guests cannot have here.'),
        }),
      )
      .max(1024),
    aliases: z
      .record(modelNameSchema, modelNameSchema)
      .describe('Names without a version, and the model that each stands for.'),
  })
  .meta({ id: 'HostCpuModels' });

export const hostCpuQuery = z.strictObject({
  accelerator: z.enum(['auto', 'kvm', 'tcg']).default('auto').describe('By which guests run.'),
});

export const cpuBaselineCreateSchema = z
  .strictObject({
    hosts: z
      .array(hostCpuModelsSchema)
      .min(1)
      .max(64)
      .describe('What `GET /v1/host/cpu` answers on each of the hosts.'),
  })
  .meta({ id: 'CpuBaselineCreate' });

export const cpuBaselineSchema = z
  .object({
    cpuModel: z.string().describe('As `spec.cpuModel` takes it.'),
    model: z.string().describe('The named model that is nearest.'),
    added: featuresSchema.describe('Features that all hosts have, and the model has not.'),
    removed: featuresSchema.describe('Features of the model that not all hosts have.'),
    features: featuresSchema.describe('What a guest then has.'),
    lost: z
      .array(featuresSchema)
      .describe('For each host, what guests could have there and do without for the others’ sake.'),
  })
  .meta({ id: 'CpuBaseline' });

export type HostCpuModels = z.infer<typeof hostCpuModelsSchema>;
export type CpuBaseline = z.infer<typeof cpuBaselineSchema>;
export type CpuBaselineCreate = z.infer<typeof cpuBaselineCreateSchema>;
export type HostCpuQuery = z.infer<typeof hostCpuQuery>;
