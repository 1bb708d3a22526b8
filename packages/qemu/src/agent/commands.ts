/**
 * The short commands of the guest agent, with checked answers: members that are not named here are dropped. All
 * throw what `AgentConnection.execute` throws.
 * Source: QEMU docs/interop/qemu-ga-ref.
 */

import type { AgentCallOptions, AgentConnection } from './connection.ts';
import { AgentClosed, AgentTimeout } from './errors.ts';
import { answerOf } from './shape.ts';

export async function agentPing(agent: AgentConnection, options?: AgentCallOptions): Promise<void> {
  await agent.execute('guest-ping', {}, options);
}

export interface AgentInfo {
  version: string;
  commands: readonly { name: string; enabled: boolean }[];
}

export async function agentInfo(agent: AgentConnection, options?: AgentCallOptions): Promise<AgentInfo> {
  const shape = answerOf('guest-info');
  const answer = shape.object(await agent.execute('guest-info', {}, options));
  const commands = shape.array(answer['supported_commands']).map((entry) => {
    const command = shape.object(entry);
    return { name: shape.string(command, 'name'), enabled: shape.boolean(command, 'enabled') };
  });
  return { version: shape.string(answer, 'version'), commands };
}

export async function agentHostName(agent: AgentConnection, options?: AgentCallOptions): Promise<string> {
  const shape = answerOf('guest-get-host-name');
  return shape.string(shape.object(await agent.execute('guest-get-host-name', {}, options)), 'host-name');
}

const OS_INFO_MEMBERS = [
  'id',
  'name',
  'pretty-name',
  'version',
  'version-id',
  'variant',
  'variant-id',
  'machine',
  'kernel-release',
  'kernel-version',
] as const;

/** What the guest says of its operating system, as far as it says it. */
export type AgentOsInfo = { [member in (typeof OS_INFO_MEMBERS)[number]]?: string };

export async function agentOsInfo(agent: AgentConnection, options?: AgentCallOptions): Promise<AgentOsInfo> {
  const shape = answerOf('guest-get-osinfo');
  const answer = shape.object(await agent.execute('guest-get-osinfo', {}, options));
  const info: AgentOsInfo = {};
  for (const member of OS_INFO_MEMBERS) {
    const value = shape.optionalString(answer, member);
    if (value !== undefined) info[member] = value;
  }
  return info;
}

export interface AgentInterface {
  name: string;
  hardwareAddress: string | undefined;
  addresses: readonly { address: string; family: 'ipv4' | 'ipv6'; prefix: number }[];
}

export async function agentInterfaces(
  agent: AgentConnection,
  options?: AgentCallOptions,
): Promise<AgentInterface[]> {
  const shape = answerOf('guest-network-get-interfaces');
  const answer = shape.array(await agent.execute('guest-network-get-interfaces', {}, options));
  return answer.map((entry) => {
    const item = shape.object(entry);
    return {
      name: shape.string(item, 'name'),
      hardwareAddress: shape.optionalString(item, 'hardware-address'),
      addresses: shape.array(item['ip-addresses'] ?? []).map((one) => {
        const address = shape.object(one);
        const family = shape.string(address, 'ip-address-type');
        if (family !== 'ipv4' && family !== 'ipv6') throw shape.wrong('has an address of an unknown family');
        return {
          address: shape.string(address, 'ip-address'),
          family,
          prefix: shape.count(address, 'prefix'),
        };
      }),
    };
  });
}

/** Freezes the guest's file systems and gives back how many. From then on the agent takes little but the thaw. */
export async function agentFreeze(agent: AgentConnection, options?: AgentCallOptions): Promise<number> {
  return countOf('guest-fsfreeze-freeze', await agent.execute('guest-fsfreeze-freeze', {}, options));
}

/** Gives back how many were frozen. */
export async function agentThaw(agent: AgentConnection, options?: AgentCallOptions): Promise<number> {
  return countOf('guest-fsfreeze-thaw', await agent.execute('guest-fsfreeze-thaw', {}, options));
}

function countOf(command: string, count: unknown): number {
  return answerOf(command).count({ count }, 'count');
}

export interface AgentVcpu {
  logicalId: number;
  online: boolean;
}

/** The processors that the guest's operating system has, online or not. */
export async function agentVcpus(agent: AgentConnection, options?: AgentCallOptions): Promise<AgentVcpu[]> {
  const shape = answerOf('guest-get-vcpus');
  return shape.array(await agent.execute('guest-get-vcpus', {}, options)).map((entry) => {
    const vcpu = shape.object(entry);
    return { logicalId: shape.count(vcpu, 'logical-id'), online: shape.boolean(vcpu, 'online') };
  });
}

/** Takes them up in turn, and gives back how many of them; throws AgentError when the first one fails. */
export async function agentSetVcpus(
  agent: AgentConnection,
  vcpus: readonly AgentVcpu[],
  options?: AgentCallOptions,
): Promise<number> {
  const list = vcpus.map(({ logicalId, online }) => ({ 'logical-id': logicalId, online }));
  return countOf('guest-set-vcpus', await agent.execute('guest-set-vcpus', { vcpus: list }, options));
}

export interface AgentMemoryBlock {
  physIndex: number;
  online: boolean;
}

/** The blocks of memory that the guest's operating system takes up or gives away as a whole. */
export async function agentMemoryBlocks(
  agent: AgentConnection,
  options?: AgentCallOptions,
): Promise<AgentMemoryBlock[]> {
  const shape = answerOf('guest-get-memory-blocks');
  return shape.array(await agent.execute('guest-get-memory-blocks', {}, options)).map((entry) => {
    const block = shape.object(entry);
    return { physIndex: shape.count(block, 'phys-index'), online: shape.boolean(block, 'online') };
  });
}

/** Gives back how many of them the guest has taken up as asked for. */
export async function agentSetMemoryBlocks(
  agent: AgentConnection,
  blocks: readonly AgentMemoryBlock[],
  options?: AgentCallOptions,
): Promise<number> {
  const shape = answerOf('guest-set-memory-blocks');
  const list = blocks.map(({ physIndex, online }) => ({ 'phys-index': physIndex, online }));
  const answer = shape.array(await agent.execute('guest-set-memory-blocks', { 'mem-blks': list }, options));
  return answer.filter((entry) => shape.string(shape.object(entry), 'response') === 'success').length;
}

/**
 * Asks the guest's own shutdown command. `accepted`: the agent took it; `unanswered`: nothing came back, which a guest
 * that shuts down quickly does as well. Whether the guest then goes down is seen in QEMU's SHUTDOWN event.
 * @throws AgentError when the agent refuses, AgentTimeout when no agent answers at all.
 */
export async function agentShutdown(
  agent: AgentConnection,
  mode: 'powerdown' | 'reboot' | 'halt' = 'powerdown',
  options?: AgentCallOptions,
): Promise<'accepted' | 'unanswered'> {
  // So that "no answer" below means the shutdown and not an agent that is not there.
  await agentPing(agent, options);
  try {
    await agent.execute('guest-shutdown', { mode }, { ...options, silent: true });
    return 'accepted';
  } catch (error) {
    if (error instanceof AgentTimeout || error instanceof AgentClosed) return 'unanswered';
    throw error;
  }
}
