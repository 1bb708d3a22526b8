// What a guest must be told after something was plugged in, by its agent: few operating systems use a new vCPU, and not all use new
// memory, by themselves. Only what is new is brought online; where no agent answers, or it refuses, the guest is left to itself.
import type { Logger } from '@wirt/core';
import {
  type AgentConnection,
  agentMemoryBlocks,
  agentSetMemoryBlocks,
  agentSetVcpus,
  agentVcpus,
} from '@wirt/qemu';
import type { AgentLink } from './agent.ts';
import type { MemoryContext } from './memory.ts';
import { tick } from './patience.ts';
import type { VcpusOptions } from './vcpus.ts';

const askMs = 5_000;
/** In which the guest must have noticed a new vCPU. */
const noticeMs = 5_000;
const lookMs = 50;

export interface HotplugAgentOptions {
  readonly id: string;
  readonly logger: Logger;
  readonly agent: Pick<AgentLink, 'answering'>;
}

export type HotplugAgent = Pick<MemoryContext, 'onlineMemory'> & Pick<VcpusOptions, 'onlineVcpus'>;

export function createHotplugAgent({ id, logger, agent: link }: HotplugAgentOptions): HotplugAgent {
  /** Undefined when it fails. */
  const attempt = async <T>(
    what: string,
    signal: AbortSignal,
    work: () => Promise<T>,
  ): Promise<T | undefined> => {
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      logger.warn('guest.hotplug_agent_failed', { id, what, error });
      return undefined;
    }
  };
  return {
    async onlineMemory(signal) {
      const agent = await link.answering();
      if (agent === undefined) return;
      await attempt('online memory', signal, async () => {
        const options = { signal, timeoutMs: askMs };
        const offline = (await agentMemoryBlocks(agent, options)).filter(({ online }) => !online);
        if (offline.length === 0) return;
        const blocks = offline.map(({ physIndex }) => ({ physIndex, online: true }));
        await agentSetMemoryBlocks(agent, blocks, options);
      });
    },
    async onlineVcpus(plug, signal) {
      const agent = await link.answering();
      const known = agent && (await attempt('read vCPUs', signal, () => readIds(agent, signal)));
      const plugged = await plug();
      if (agent === undefined || known === undefined) return;
      await attempt('online vCPUs', signal, () => onlineNew(agent, known, plugged, signal));
    },
  };
}

async function readIds(agent: AgentConnection, signal: AbortSignal): Promise<ReadonlySet<number>> {
  const vcpus = await agentVcpus(agent, { signal, timeoutMs: askMs });
  return new Set(vcpus.map(({ logicalId }) => logicalId));
}

/** The guest notices them by and by; none tells of it. */
async function onlineNew(
  agent: AgentConnection,
  known: ReadonlySet<number>,
  count: number,
  signal: AbortSignal,
): Promise<void> {
  const options = { signal, timeoutMs: askMs };
  const done = new Set<number>();
  const never = Promise.withResolvers<void>().promise;
  for (const since = performance.now(); performance.now() - since < noticeMs; ) {
    const fresh = (await agentVcpus(agent, options)).filter(
      ({ logicalId }) => !known.has(logicalId) && !done.has(logicalId),
    );
    for (const { logicalId, online } of fresh) {
      if (!online) await agentSetVcpus(agent, [{ logicalId, online: true }], options);
      done.add(logicalId);
    }
    if (done.size >= count) return;
    await tick(never, lookMs, signal);
  }
}
