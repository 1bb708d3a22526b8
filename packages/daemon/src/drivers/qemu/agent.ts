// The guest agent of a running guest: connected when first needed, asked whether it answers as long as the guest holds
// its port open, and used for commands and files. All it says is the guest's word: sizes and times are limited.
import { setTimeout as delay } from 'node:timers/promises';
import { type Exec, type ExecResult, WirtError } from '@wirt/api';
import type { GuestAgent, Logger } from '@wirt/core';
import {
  type AgentConnection,
  AgentError,
  AgentFailure,
  AgentTimeout,
  AgentTooLarge,
  agentExec,
  agentFreeze,
  agentInterfaces,
  agentPing,
  agentReadFile,
  agentThaw,
  agentWriteFile,
  connectAgent,
} from '@wirt/qemu';
import { guestAddresses } from './guest-addresses.ts';

const pingTimeoutMs = 1_000;
const firstRetryMs = 100;
const longestRetryMs = 5_000;
const connectTimeoutMs = 2_000;
const fileTimeoutMs = 30_000;
/** A guest that has much to write takes a while; its programs stand still meanwhile. */
const freezeTimeoutMs = 10_000;
const thawTimeoutMs = 10_000;
/** After a freeze that nobody waits for any more. */
const lateThawTimeoutMs = 120_000;
const addressTimeoutMs = 5_000;
const maxOutputBytes = 16 * 1024 * 1024;
const maxFileBytes = 1024 * 1024 * 1024;

export interface AgentLink extends GuestAgent {
  readonly answers: boolean;
  /** The connection to an agent that answers; undefined where none does. */
  answering(): Promise<AgentConnection | undefined>;
  /** The guest has opened or closed its end of the port. */
  portChanged(open: boolean): void;
  detach(): void;
}

export interface AgentLinkOptions {
  readonly id: string;
  readonly path: string;
  readonly logger: Logger;
  onAnswers(answers: boolean): void;
}

export function createAgentLink({ id, path, logger, onAnswers }: AgentLinkOptions): AgentLink {
  let connecting: Promise<AgentConnection> | undefined;
  /** Of the time that the port is open. */
  let open: AbortController | undefined;
  let answers = false;

  const setAnswers = (now: boolean): void => {
    if (answers === now) return;
    answers = now;
    onAnswers(now);
  };
  const connection = (): Promise<AgentConnection> => {
    connecting ??= connectAgent({ path, timeoutMs: connectTimeoutMs }).then(
      (made) => {
        void made.closed.then(() => {
          connecting = undefined;
        });
        return made;
      },
      (error: unknown) => {
        connecting = undefined;
        throw error;
      },
    );
    return connecting;
  };
  const askUntilItAnswers = async (signal: AbortSignal): Promise<void> => {
    for (let retryMs = firstRetryMs; !signal.aborted; retryMs = Math.min(retryMs * 2, longestRetryMs)) {
      try {
        await agentPing(await connection(), { timeoutMs: pingTimeoutMs, signal });
        if (!signal.aborted) setAnswers(true);
        return;
      } catch (error) {
        logger.debug('guest.agent_silent', { id, error });
      }
      await delay(retryMs, undefined, { signal, ref: false });
    }
  };
  const close = (): void => {
    open?.abort();
    open = undefined;
  };
  const use = async (what: string): Promise<AgentConnection> => {
    const hint = `See whether qemu-guest-agent runs in the guest: \`wirt console ${id}\`.`;
    const message = `Instance ${id} could not ${what}: no guest agent answers.`;
    if (open === undefined) throw new WirtError('guest.agent_unavailable', message, { hint });
    try {
      return await connection();
    } catch (cause) {
      throw new WirtError('guest.agent_unavailable', message, { cause, hint });
    }
  };

  return {
    get answers() {
      return answers;
    },
    answering: async () => (answers ? connection().catch(() => undefined) : undefined),
    portChanged(isOpen) {
      close();
      if (!isOpen) return setAnswers(false);
      open = new AbortController();
      // It ends by an answer or by the port's closing, and by nothing else.
      askUntilItAnswers(open.signal).catch(() => {});
    },
    detach() {
      close();
      connecting?.then(
        (made) => made.close(),
        () => {},
      );
    },
    async exec(command, signal) {
      const agent = await use('run a program');
      try {
        return toResult(await agentExec(agent, execOptions(command, signal)));
      } catch (error) {
        throw agentFailure(error, signal, id, `run ${command.argv[0]}`);
      }
    },
    async *readFile(file, signal) {
      const agent = await use(`read ${file}`);
      try {
        const options = { path: file, signal, maxBytes: maxFileBytes, timeoutMs: fileTimeoutMs };
        yield* agentReadFile(agent, options);
      } catch (error) {
        throw agentFailure(error, signal, id, `read ${file}`);
      }
    },
    async writeFile(file, content, signal) {
      const agent = await use(`write ${file}`);
      try {
        const options = { path: file, content, signal, maxBytes: maxFileBytes, timeoutMs: fileTimeoutMs };
        await agentWriteFile(agent, options);
      } catch (error) {
        throw agentFailure(error, signal, id, `write ${file}`);
      }
    },
    async freeze(signal) {
      const agent = await use('freeze its file systems');
      return freeze(agent, { id, logger, signal });
    },
    async thaw(signal) {
      const agent = await use('thaw its file systems');
      // Not to be called off: a guest that stays frozen is as good as dead.
      return agentThaw(agent, { timeoutMs: thawTimeoutMs }).catch((error: unknown) => {
        throw agentFailure(error, signal, id, 'thaw its file systems');
      });
    },
    async addresses(signal) {
      const agent = await use('tell its addresses');
      try {
        return guestAddresses(await agentInterfaces(agent, { signal, timeoutMs: addressTimeoutMs }));
      } catch (error) {
        throw agentFailure(error, signal, id, 'tell its addresses');
      }
    },
  };
}

interface FreezeOptions {
  readonly id: string;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

async function freeze(agent: AgentConnection, { id, logger, signal }: FreezeOptions): Promise<number> {
  try {
    return await agentFreeze(agent, { signal, timeoutMs: freezeTimeoutMs });
  } catch (error) {
    // It may still do it, whenever it gets to it. The agent works in turn: this comes after.
    if (!(error instanceof AgentError)) {
      agentThaw(agent, { timeoutMs: lateThawTimeoutMs }).catch((cause: unknown) =>
        logger.warn('guest.thaw_failed', { id, cause }),
      );
    }
    throw agentFailure(error, signal, id, 'freeze its file systems');
  }
}

function execOptions(command: Exec, signal: AbortSignal): Parameters<typeof agentExec>[1] {
  const [program = '', ...args] = command.argv;
  const pairs = command.env?.map((pair): [string, string] => {
    const at = pair.indexOf('=');
    return at === -1 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)];
  });
  return {
    argv: [program, ...args],
    timeoutMs: command.timeoutSeconds * 1000,
    signal,
    maxOutputBytes,
    ...(pairs === undefined ? {} : { env: Object.fromEntries(pairs) }),
    ...(command.stdin === undefined ? {} : { stdin: Buffer.from(command.stdin, 'base64') }),
  };
}

function toResult(result: Awaited<ReturnType<typeof agentExec>>): ExecResult {
  const { exitCode, signal, stdout, stderr, truncated } = result;
  return {
    ...(exitCode === undefined ? {} : { exitCode }),
    ...(signal === undefined ? {} : { signal }),
    stdout: stdout.toString('base64'),
    stderr: stderr.toString('base64'),
    truncated,
  };
}

/** The reason of an abort, an error of the content's source and errors of ours pass through. */
function agentFailure(error: unknown, signal: AbortSignal, id: string, what: string): unknown {
  if (signal.aborted) return signal.reason;
  const message = `Instance ${id} could not ${what}.`;
  if (error instanceof AgentError) return new WirtError('guest.command_failed', message, { cause: error });
  if (error instanceof AgentTooLarge)
    return new WirtError('guest.output_too_large', message, { cause: error });
  if (error instanceof AgentTimeout) {
    const hint = `A program goes on in the guest; give it longer with --timeout, or see \`wirt console ${id}\`.`;
    return new WirtError('guest.agent_timeout', message, { cause: error, hint });
  }
  return error instanceof AgentFailure
    ? new WirtError('guest.agent_unavailable', message, { cause: error })
    : error;
}
