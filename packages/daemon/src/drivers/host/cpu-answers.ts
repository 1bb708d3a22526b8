// What QEMU tells of its CPU models, read into ours. Pure. Static expansion gives CPUID features by their one name and little else.
// Source: QEMU qapi/machine-target.json (query-cpu-definitions, query-cpu-model-expansion), target/i386/cpu.c (x86_cpu_static_props).
import type { HostCpuModels } from '@wirt/api';

/** Answers by the id of their question. */
export type CpuAnswers = ReadonlyMap<string, unknown>;

export interface CpuDefinition {
  readonly name: string;
  readonly 'alias-of'?: string;
  readonly 'unavailable-features'?: readonly string[];
}

/** Two of them are all that the host or TCG has, and one is next to nothing. */
const noModels = ['host', 'max', 'base'];
/** Yes or no, and not a feature of the processor as CPUID tells them. */
const noFeatures = ['lmce'];
const migratable = 'own';
const all = 'own, unmigratable too';

export function definitionsOf(answers: CpuAnswers): readonly CpuDefinition[] {
  const answer = answers.get('definitions');
  if (!Array.isArray(answer)) throw new Error('QEMU did not answer query-cpu-definitions');
  return answer as CpuDefinition[];
}

/** Names without a version are the same models again. */
function versioned(definitions: readonly CpuDefinition[]): readonly CpuDefinition[] {
  return definitions.filter(
    (definition) => definition['alias-of'] === undefined && !noModels.includes(definition.name),
  );
}

/** The questions: `own` is what guests can have at most. */
export function expansions(own: 'host' | 'max', definitions: readonly CpuDefinition[]): object[] {
  const question = (id: string, model: object): object => ({
    execute: 'query-cpu-model-expansion',
    arguments: { type: 'static', model },
    id,
  });
  return [
    question(migratable, { name: own }),
    question(all, { name: own, props: { migratable: false } }),
    ...versioned(definitions).map(({ name }) => question(`model ${name}`, { name })),
  ];
}

interface Expanded {
  readonly vendor: string;
  readonly features: readonly string[];
}

export function modelsOf(
  definitions: readonly CpuDefinition[],
  answers: CpuAnswers,
): Pick<HostCpuModels, 'vendor' | 'features' | 'unmigratable' | 'models' | 'aliases'> {
  const own = expanded(answers, migratable);
  if (own === undefined) throw new Error('QEMU did not answer query-cpu-model-expansion');
  const whole = new Set(expanded(answers, all)?.features ?? []);
  return {
    vendor: own.vendor,
    features: [...own.features],
    unmigratable: [...whole.difference(new Set(own.features))],
    models: versioned(definitions).flatMap((definition) => {
      const { name, 'unavailable-features': unavailable = [] } = definition;
      const model = expanded(answers, `model ${name}`);
      return model === undefined
        ? []
        : [{ name, vendor: model.vendor, features: [...model.features], unavailable: [...unavailable] }];
    }),
    aliases: Object.fromEntries(
      definitions.flatMap(({ name, 'alias-of': of }) => (of === undefined ? [] : [[name, of]])),
    ),
  };
}

function expanded(answers: CpuAnswers, id: string): Expanded | undefined {
  const answer = answers.get(id) as { model?: { props?: Record<string, unknown> } } | undefined;
  const props = answer?.model?.props;
  if (props === undefined) return undefined;
  const { vendor } = props;
  return {
    vendor: typeof vendor === 'string' ? vendor : 'unknown',
    features: Object.keys(props)
      .filter((name) => props[name] === true && !noFeatures.includes(name))
      .toSorted(),
  };
}
