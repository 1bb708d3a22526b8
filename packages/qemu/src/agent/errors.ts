/**
 * What can go wrong in the talk with a guest agent. Each class has a stable `code`; tell them apart by that or by
 * `instanceof`. The agent's words are a guest's words: show them, never act on them.
 */

export abstract class AgentFailure extends Error {
  abstract readonly code: string;
}

/** The agent refused the command, in its own words. */
export class AgentError extends AgentFailure {
  override readonly name = 'AgentError';
  readonly code = 'agent_error';
  readonly command: string;
  readonly class: string;
  readonly desc: string;

  constructor(command: string, errorClass: string, desc: string) {
    super(`${command}: ${desc}`);
    this.command = command;
    this.class = errorClass;
    this.desc = desc;
  }
}

/** No answer within the deadline: no agent runs, it hangs, or it is slow. The command may still be carried out. */
export class AgentTimeout extends AgentFailure {
  override readonly name = 'AgentTimeout';
  readonly code = 'agent_timeout';
  readonly command: string;
  readonly timeoutMs: number;

  constructor(command: string, timeoutMs: number) {
    super(`${command}: no answer of the guest agent within ${timeoutMs} ms`);
    this.command = command;
    this.timeoutMs = timeoutMs;
  }
}

/** The socket to the agent is gone; connect again. */
export class AgentClosed extends AgentFailure {
  override readonly name = 'AgentClosed';
  readonly code = 'agent_closed';
}

/** The answer is not what the agent's protocol promises. The connection synchronises again before its next use. */
export class AgentProtocolError extends AgentFailure {
  override readonly name = 'AgentProtocolError';
  readonly code = 'agent_protocol';
}

/** More bytes than the caller allowed, from the guest or for it. */
export class AgentTooLarge extends AgentFailure {
  override readonly name = 'AgentTooLarge';
  readonly code = 'agent_too_large';
}

/** Too many commands wait for their turn, or too many bytes for an agent that does not read. */
export class AgentBusy extends AgentFailure {
  override readonly name = 'AgentBusy';
  readonly code = 'agent_busy';
}

/** The socket could not be opened; `cause` is the system's error. */
export class AgentUnreachable extends AgentFailure {
  override readonly name = 'AgentUnreachable';
  readonly code = 'agent_unreachable';
}
