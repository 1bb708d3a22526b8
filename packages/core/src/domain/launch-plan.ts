/** The planner: spec, image and accelerator → launch plan. Pure; all that QEMU is told is decided here or is constant. */
import type { Image, Instance } from '@wirt/api';
import type { Accelerator, LaunchPlan } from './guest.ts';
import { macOf, uuidOf } from './identity.ts';

/** CPU model by accelerator where none was chosen: all that the host has, or all that TCG can do. */
const defaultCpuModel = { kvm: 'host', tcg: 'max' } as const satisfies Record<Accelerator, string>;

/** QEMU's own memory beside the guest's: measured 50–70 MiB resident for a guest of this shape, rounded up. */
export const qemuOverheadMib = 80;

export function planLaunch(
  instance: Instance,
  image: Image,
  accelerator: Accelerator,
  pathOf: (file: string) => string,
): LaunchPlan {
  const { id, name, spec } = instance;
  return {
    id,
    uuid: uuidOf(id),
    machine: spec.machine,
    accelerator,
    cpuModel: spec.cpuModel ?? defaultCpuModel[accelerator],
    cpus: spec.cpus,
    memoryMib: spec.memoryMib,
    nics: spec.nics.map((nic, index) => ({ type: nic.type, mac: macOf(id, index), hostname: name })),
    boot: {
      kernel: pathOf(image.status.kernel ?? ''),
      initrd: pathOf(image.status.initrd ?? ''),
      kernelArgs: image.status.kernelArgs ?? '',
    },
  };
}
