/** What is done with a running guest from outside: its console, its logs, and its agent. */
import { type Instance, type InstanceAction, WirtError } from '@wirt/api';
import type { Guest, GuestAgent } from '../ports/hypervisor.ts';
import type { GuestActions } from './actions.ts';
import { inWordsOf, requireCan } from './instance-state.ts';
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

  /** The guest's agent, if it answers; `say` turns its errors into words about the instance. */
  function agentOf(
    ref: string,
    action: 'exec' | 'cp',
  ): { agent: GuestAgent; say: (error: unknown) => never } {
    const { instance, guest } = guestOf(ref, action);
    const say = (error: unknown): never => {
      throw inWordsOf(instance, error);
    };
    if (guest.state.agent) return { agent: guest.agent, say };
    throw new WirtError('guest.agent_unavailable', `No guest agent answers in ${instance.name}.`, {
      hint: `Wait until it has booted: \`wirt show ${instance.name}\` tells, or use \`wirt console ${instance.name}\`.`,
    });
  }

  async function* read(ref: string, path: string, signal: AbortSignal): AsyncIterable<Uint8Array> {
    const { agent, say } = agentOf(ref, 'cp');
    try {
      yield* agent.readFile(path, signal);
    } catch (error) {
      say(error);
    }
  }

  return {
    console: async (_request, ref) => guestOf(ref, 'console').guest.console,
    logs: async (_request, ref, source) => hypervisor.readLog(instances.require(ref).id, source),
    exec: async (request, ref, input) => {
      const { agent, say } = agentOf(ref, 'exec');
      const deadline = AbortSignal.timeout(input.timeoutSeconds * 1000 + agentSlackMs);
      return agent.exec(input, AbortSignal.any([request.signal, deadline])).catch(say);
    },
    readFile: async (request, ref, path) => read(ref, path, transfer(request.signal)),
    writeFile: async (request, ref, path, content) => {
      const { agent, say } = agentOf(ref, 'cp');
      await agent.writeFile(path, content, transfer(request.signal)).catch(say);
    },
  };
}

function transfer(signal: AbortSignal): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(transferDeadlineMs)]);
}
