/** Whether a guest can have the processor that it names, on this host, with its QEMU and accelerator. Pure. */
import { type HostCpuModels, nearest, WirtError } from '@wirt/api';

/** QEMU's own: all that the host or TCG has, and next to nothing. They are no models of a list. */
const special = ['host', 'max', 'base'];

export interface ModelGround {
  readonly name: string;
  /** As `spec.cpuModel` has it. */
  readonly cpuModel: string;
  readonly host: HostCpuModels;
}

/**
 * Throws `host.cpu_model_unusable`. A model alone is taken as QEMU takes it, which leaves out what the host lacks; with features named,
 * all of it must be there.
 */
export function requireCpuModel({ name, cpuModel, host }: ModelGround): void {
  const [model = '', ...changes] = cpuModel.split(',');
  const models = new Map(host.models.map((one) => [one.name, one]));
  const found = models.get(host.aliases[model] ?? model);
  if (found === undefined && !special.includes(model)) throw unknownModel(name, model, host);
  if (model === 'host' && host.accelerator === 'tcg') {
    throw unusable(
      `Instance ${name} is to have the host’s own processor, which takes KVM; it runs by TCG.`,
      'Take `max`, which is all that TCG can do, or leave out the model.',
    );
  }
  if (changes.length === 0) return;
  const changed = (sign: string): string[] =>
    changes.filter((change) => change.startsWith(sign)).map((change) => change.slice(1));
  const usable = new Set([...host.features, ...host.unmigratable]);
  const known = new Set([...usable, ...host.models.flatMap(({ features }) => features)]);
  const misspelt = [...changed('+'), ...changed('-')].find((feature) => !known.has(feature));
  if (misspelt !== undefined) {
    const meant = nearest(misspelt, [...known]);
    throw unusable(
      `Instance ${name} names the processor feature ${misspelt}, which neither this host nor a model of QEMU ${host.qemuVersion} has.`,
      `${meant === undefined ? '' : `Did you mean ${meant}? `}See \`wirt host cpu\`.`,
    );
  }
  const removed = new Set(changed('-'));
  const missing = new Set([
    ...changed('+').filter((feature) => !usable.has(feature)),
    ...(found?.unavailable ?? []),
  ]).difference(removed);
  if (missing.size === 0) return;
  throw new WirtError(
    'host.cpu_model_unusable',
    `Instance ${name} is to have processor features that guests cannot have on this host: ${[...missing].join(', ')}.`,
    {
      hint: 'Leave them out (`,-FEATURE`), or compute a model that all hosts have: `wirt host cpu-baseline`.',
      details: { cpuModel, missing: [...missing], accelerator: host.accelerator },
    },
  );
}

function unusable(message: string, hint: string): WirtError {
  return new WirtError('host.cpu_model_unusable', message, { hint });
}

function unknownModel(name: string, model: string, host: HostCpuModels): WirtError {
  const names = [...host.models.map((one) => one.name), ...Object.keys(host.aliases), ...special];
  const meant = nearest(model, names);
  return unusable(
    `Instance ${name} is to have the CPU model ${model}, which QEMU ${host.qemuVersion} does not have.`,
    `${meant === undefined ? '' : `Did you mean ${meant}? `}See \`wirt host cpu\`.`,
  );
}
