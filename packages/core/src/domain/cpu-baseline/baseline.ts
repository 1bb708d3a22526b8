/**
 * The processor that guests of several hosts can have to migrate among them: all features that every host has, written as the nearest
 * named model and the differences. Pure. Which model is taken decides what the guest's processor is called, never what it can do.
 */
import { type CpuBaseline, type HostCpuModels, WirtError } from '@wirt/api';

/**
 * Virtualization within the guest is left out: its state ties a guest to hosts more than its features tell, and whoever wants it
 * adds it by hand. Source: QEMU target/i386/cpu.c, FEAT_1_ECX, FEAT_8000_0001_ECX, FEAT_SVM and FEAT_VMX_*.
 */
const nested =
  /^(vmx|vmx-.*|svm|npt|lbrv|svm-lock|nrip-save|tsc-scale|vmcb-clean|flushbyasid|decodeassists|pause-filter|pfthreshold|avic|v-vmsave-vmload|vgif|vnmi|svme-addr-chk)$/;

type Model = HostCpuModels['models'][number];

/** Throws `request.invalid` for hosts between which no guest migrates, or that have no model in common. */
export function cpuBaseline(hosts: readonly HostCpuModels[]): CpuBaseline {
  const [first, ...others] = hosts;
  if (first === undefined) throw new WirtError('request.invalid', 'A baseline of no hosts was asked for.');
  for (const [index, other] of others.entries()) requireAlike(first, other, index + 2);
  const common = others.reduce<ReadonlySet<string>>(
    (rest, { features }) => new Set(features).intersection(rest),
    new Set(first.features.filter((feature) => !nested.test(feature))),
  );
  const nearest = commonModels(first, others)
    .map((model) => ({ model, ...difference(model, common) }))
    .toSorted(
      (a, b) =>
        Number(b.model.vendor === first.vendor) - Number(a.model.vendor === first.vendor) ||
        a.added.length + a.removed.length - b.added.length - b.removed.length ||
        a.model.name.localeCompare(b.model.name, 'en'),
    )[0];
  if (nearest === undefined) {
    throw new WirtError('request.invalid', 'The QEMUs of these hosts have no CPU model in common.', {
      hint: 'Bring the hosts to nearer versions of QEMU.',
    });
  }
  const { model, added, removed } = nearest;
  return {
    cpuModel: [model.name, ...added.map((one) => `+${one}`), ...removed.map((one) => `-${one}`)].join(','),
    model: model.name,
    added,
    removed,
    features: [...common].toSorted(),
    lost: hosts.map(({ features }) => [...new Set(features).difference(common)].toSorted()),
  };
}

function requireAlike(first: HostCpuModels, other: HostCpuModels, number: number): void {
  for (const what of ['architecture', 'accelerator', 'vendor'] as const) {
    if (first[what] === other[what]) continue;
    throw new WirtError(
      'request.invalid',
      `No guest migrates between host 1 and host ${number}: their ${what} is ${first[what]} and ${other[what]}.`,
      { hint: 'Make a baseline of each kind of host, and migrate within it.' },
    );
  }
}

/** Those that mean the same on every host: another version of QEMU may have given a name to other features. */
function commonModels(first: HostCpuModels, others: readonly HostCpuModels[]): readonly Model[] {
  const elsewhere = others.map(({ models }) => new Map(models.map((model) => [model.name, model])));
  return first.models.filter((model) =>
    elsewhere.every((models) => {
      const other = models.get(model.name);
      return (
        other !== undefined && new Set(model.features).symmetricDifference(new Set(other.features)).size === 0
      );
    }),
  );
}

function difference(model: Model, common: ReadonlySet<string>): { added: string[]; removed: string[] } {
  const own = new Set(model.features);
  return { added: [...common.difference(own)].toSorted(), removed: [...own.difference(common)].toSorted() };
}
