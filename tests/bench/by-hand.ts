// Guests that QEMU is started for by hand: found when they have booted, and ended.
import { type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { type AgentConnection, agentPing, connectAgent } from '@wirt/qemu';

/** The agent at a socket; it answers when the guest has booted. */
export async function bootedAgent(path: string, bootMs: number): Promise<AgentConnection> {
  const deadline = AbortSignal.timeout(bootMs);
  for (;;) {
    const agent = await connectAgent({ path }).catch(() => undefined);
    try {
      if (agent !== undefined) {
        await agentPing(agent, { timeoutMs: 2_000 });
        return agent;
      }
    } catch {
      await agent?.close();
    }
    deadline.throwIfAborted();
    await pause(200);
  }
}

export async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}
