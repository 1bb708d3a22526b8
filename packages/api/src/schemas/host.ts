/** The machine below: what it is, what it can do, and how it compares with best practice. */
import * as z from 'zod';

const pciDeviceSchema = z.object({
  address: z.string(),
  vendorDevice: z.string(),
  driver: z.string().optional(),
  iommuGroup: z.int().optional(),
  sriovTotalVfs: z.int().optional(),
  sriovNumVfs: z.int().optional(),
});

export const hostSchema = z
  .object({
    hostname: z.string(),
    kernel: z.string(),
    architecture: z.string(),
    distribution: z.string(),
    bootId: z.string(),
    cpu: z.object({
      model: z.string(),
      sockets: z.int(),
      cores: z.int(),
      threads: z.int(),
      virtualization: z.enum(['vmx', 'svm', 'arm', 'none']),
    }),
    numa: z.array(z.object({ node: z.int(), cpus: z.string(), memoryMib: z.int(), freeMib: z.int() })),
    memory: z.object({
      totalMib: z.int(),
      availableMib: z.int(),
      swapTotalMib: z.int(),
      hugePagesMib: z.int().optional().describe('Of the total, what is set aside as huge pages.'),
    }),
    hugePages: z.array(z.object({ sizeKib: z.int(), total: z.int(), free: z.int() })),
    kvm: z.object({ device: z.boolean(), opens: z.boolean(), usable: z.boolean(), why: z.string() }),
    accelerator: z.enum(['kvm', 'tcg']).describe('What `auto` takes.'),
    qemu: z
      .object({
        binary: z.string(),
        version: z.string(),
        machines: z.array(z.string()).describe('Machine types that Wirt can use.'),
        maxCpus: z.record(z.string(), z.int()).describe('Per machine type.'),
        features: z.record(z.string(), z.boolean()),
      })
      .optional(),
    cgroup: z.object({
      version: z.enum(['v1', 'v2', 'hybrid', 'none']),
      controllers: z.array(z.object({ name: z.string(), version: z.enum(['v1', 'v2']) })),
    }),
    security: z.object({
      selinux: z.enum(['enforcing', 'permissive', 'off']),
      apparmor: z.boolean(),
      privileged: z.boolean(),
    }),
    iommu: z.object({ enabled: z.boolean(), groups: z.int() }),
    sriovDevices: z.array(pciDeviceSchema),
    ioUring: z.boolean(),
    vhostNet: z.boolean(),
    vsock: z.boolean().describe('Whether guests can have a vsock: /dev/vhost-vsock is there.'),
    ksm: z.boolean(),
    thp: z.string().describe('Transparent huge pages, for private memory.'),
    shmemThp: z
      .enum(['advise', 'never', 'deny'])
      .describe('The same for guests’ memory, which is shared; `deny` where the host forbids it.'),
  })
  .meta({ id: 'Host' });

export const hostFindingSchema = z
  .object({
    id: z.string().describe('Stable name of the check.'),
    title: z.string(),
    level: z.enum(['ok', 'better', 'missing']).describe('ok, could be better, or missing.'),
    found: z.string().describe('What was found.'),
    why: z.string().describe('Why it matters, and what it costs as it is.'),
    fix: z.string().optional().describe('The exact command that mends it.'),
  })
  .meta({ id: 'HostFinding' });

export const hostCheckSchema = z.object({ findings: z.array(hostFindingSchema) }).meta({ id: 'HostCheck' });

export const versionSchema = z
  .object({
    version: z.string(),
    api: z.literal('v1'),
    node: z.string(),
    pid: z.int(),
    stateDirectory: z.string(),
  })
  .meta({ id: 'Version' });

export type Host = z.infer<typeof hostSchema>;
export type HostFinding = z.infer<typeof hostFindingSchema>;
export type HostCheck = z.infer<typeof hostCheckSchema>;
export type Version = z.infer<typeof versionSchema>;
