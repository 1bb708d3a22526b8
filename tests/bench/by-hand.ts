// Guests that QEMU is started for by hand: found when they have booted, and ended.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type AgentConnection, agentExec, agentPing, connectAgent } from '@wirt/qemu';

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

export interface GuestByHand extends AsyncDisposable {
  /** Runs a shell line in it and gives what it wrote. */
  sh(line: string, timeoutMs?: number): Promise<string>;
}

/** QEMU with these words, which are told where its sockets may be; `agent` is the name of that of its agent. Returns when it has booted. */
export async function guestByHand(
  agent: string,
  wordsIn: (directory: string) => readonly string[],
): Promise<GuestByHand> {
  const directory = await mkdtemp(join(tmpdir(), 'wirt-by-hand-'));
  const child = spawn('qemu-system-x86_64', wordsIn(directory), { stdio: 'ignore' });
  const connection = await bootedAgent(join(directory, agent), 120_000);
  return {
    sh: async (line, timeoutMs = 60_000) => {
      const { stdout } = await agentExec(connection, { argv: ['/bin/sh', '-c', line], timeoutMs });
      return stdout.toString();
    },
    [Symbol.asyncDispose]: async () => {
      await connection.close();
      await killed(child);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

export async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}
