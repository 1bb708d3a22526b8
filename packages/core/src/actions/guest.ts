/** What is done with a running guest from outside: its console, its logs, and its agent. */
import { type Instance, type InstanceAction, WirtError } from '@wirt/api';
import type { Guest } from '../ports/hypervisor.ts';
import type { GuestActions } from './actions.ts';
import { requireCan } from './instance-state.ts';
import type { LiveGuests } from './live-guests.ts';
import type { Shared } from './parts.ts';

/** Time beyond a command's own, for the agent to be asked and to answer. */
const agentSlackMs = 10_000;
const transferDeadlineMs = 3_600_000;

export function createGuestActions(
  shared: Pick<Shared, 'instances' | 'hypervisor'>,
  live: LiveGuests,
): GuestActions {
  const { instances, hypervisor } = shared;

  function guestOf(ref: string, action: InstanceAction): { instance: Instance; guest: Guest } {
    const instance = instances.require(ref);
    requireCan(action, instance);
    const guest = live.get(instance.id);
    if (guest === undefined)
      throw new WirtError('instance.state_conflict', `Instance ${instance.name} has just ended.`);
    return { instance, guest };
  }

  /** The guest, if its agent answers. */
  function agentOf(ref: string, action: 'exec' | 'cp'): Guest {
    const { instance, guest } = guestOf(ref, action);
    if (guest.state.agent) return guest;
    throw new WirtError('guest.agent_unavailable', `No guest agent answers in ${instance.name}.`, {
      hint: `Wait until it has booted: \`wirt start ${instance.name} --wait ready\`, or use \`wirt console ${instance.name}\`.`,
    });
  }

  return {
    console: (_request, ref) => Promise.resolve().then(() => guestOf(ref, 'console').guest.console),
    logs: (_request, ref, source) =>
      Promise.resolve().then(() => hypervisor.readLog(instances.require(ref).id, source)),
    exec: async (request, ref, input) => {
      const { agent } = agentOf(ref, 'exec');
      const deadline = AbortSignal.timeout(input.timeoutSeconds * 1000 + agentSlackMs);
      return agent.exec(input, AbortSignal.any([request.signal, deadline]));
    },
    readFile: (request, ref, path) =>
      Promise.resolve().then(() => agentOf(ref, 'cp').agent.readFile(path, transfer(request.signal))),
    writeFile: async (request, ref, path, content) =>
      agentOf(ref, 'cp').agent.writeFile(path, content, transfer(request.signal)),
  };
}

function transfer(signal: AbortSignal): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(transferDeadlineMs)]);
}
