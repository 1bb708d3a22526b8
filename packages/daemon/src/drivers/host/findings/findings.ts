// Compares a host's facts with best practice: one finding per topic, in the order a person would mend them. Pure.
import type { HostFinding } from '@wirt/api';
import type { HostFacts } from '../facts.ts';
import { deviceFindings } from './devices.ts';
import { isolationFindings } from './isolation.ts';
import { memoryFindings } from './memory.ts';
import { networkFindings } from './network.ts';
import { processorFindings } from './processor.ts';
import { firmwareFindings, toolFindings } from './tools.ts';
import { virtualizationFindings } from './virtualization.ts';

export function findingsOf(facts: HostFacts): HostFinding[] {
  return [
    ...virtualizationFindings(facts),
    ...processorFindings(facts),
    ...memoryFindings(facts),
    ...isolationFindings(facts),
    ...deviceFindings(facts),
    ...networkFindings(facts),
    ...firmwareFindings(facts),
    ...toolFindings(facts),
  ];
}
