/** The machine below, as the host inspector sees it. */
import type { HostInspector } from '../ports/host-inspector.ts';
import type { HostActions } from './actions.ts';

const inspectDeadlineMs = 30_000;

export function createHostActions(host: HostInspector): HostActions {
  const deadline = (signal: AbortSignal): AbortSignal =>
    AbortSignal.any([signal, AbortSignal.timeout(inspectDeadlineMs)]);
  return {
    inspect: ({ signal }) => host.inspect(deadline(signal)),
    check: async ({ signal }) => ({ findings: await host.check(deadline(signal)) }),
  };
}
