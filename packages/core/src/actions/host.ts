/** The machine below: what it is, what of it is promised, and up to what it may be. */
import { cpuBaseline } from '../domain/cpu-baseline/baseline.ts';
import type { HostActions } from './actions.ts';
import { capacityOf, topologyOf } from './capacity.ts';
import type { Shared } from './parts.ts';

const inspectDeadlineMs = 30_000;
const lane = 'host-settings';

export function createHostActions(shared: Shared): HostActions {
  const { host, settings, lanes } = shared;
  const deadline = (signal: AbortSignal): AbortSignal =>
    AbortSignal.any([signal, AbortSignal.timeout(inspectDeadlineMs)]);
  return {
    inspect: ({ signal }) => host.inspect(deadline(signal)),
    check: async ({ signal }) => ({ findings: await host.check(deadline(signal)) }),
    capacity: () => capacityOf(shared),
    topology: () => topologyOf(shared),
    async cpu({ signal }, { accelerator }) {
      const until = deadline(signal);
      return host.cpuModels(await host.accelerator(accelerator), until);
    },
    cpuBaseline: ({ hosts }) => cpuBaseline(hosts),
    settings: () => Promise.resolve(settings.value),
    updateSettings: (_request, input) => lanes.run(lane, () => settings.update(input)),
  };
}
