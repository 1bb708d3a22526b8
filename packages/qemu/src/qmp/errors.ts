/**
 * What can go wrong on a QMP connection. Each class has a stable `code`; tell them apart by that or by `instanceof`.
 */

export abstract class QmpFailure extends Error {
  abstract readonly code: string;
}

/** QEMU refused the command, in its own words: `class` and `desc` come from the answer. The connection lives on. */
export class QmpError extends QmpFailure {
  override readonly name = 'QmpError';
  readonly code = 'qmp_error';
  readonly command: string;
  /** `GenericError`, `CommandNotFound`, `DeviceNotFound`, ... */
  readonly class: string;
  readonly desc: string;

  constructor(command: string, errorClass: string, desc: string) {
    super(`${command}: ${desc}`);
    this.command = command;
    this.class = errorClass;
    this.desc = desc;
  }
}

/** No answer within the deadline. QEMU may still carry the command out; its late answer is dropped. */
export class QmpTimeout extends QmpFailure {
  override readonly name = 'QmpTimeout';
  readonly code = 'qmp_timeout';
  /** The command, or `connect` for the way to the end of the capabilities negotiation. */
  readonly command: string;
  readonly timeoutMs: number;

  constructor(command: string, timeoutMs: number) {
    super(`${command}: no answer within ${timeoutMs} ms`);
    this.command = command;
    this.timeoutMs = timeoutMs;
  }
}

/** The connection is gone, by the peer or by `close()`. Whether a command in flight was carried out is unknown. */
export class QmpClosed extends QmpFailure {
  override readonly name = 'QmpClosed';
  readonly code = 'qmp_closed';
}

/** The peer does not speak QMP; the connection was closed for it. */
export class QmpProtocolError extends QmpFailure {
  override readonly name = 'QmpProtocolError';
  readonly code = 'qmp_protocol';
}

/** Too many commands or bytes are waiting for a peer that does not answer; the command was not sent. */
export class QmpBusy extends QmpFailure {
  override readonly name = 'QmpBusy';
  readonly code = 'qmp_busy';
}

/** The socket could not be opened; `cause` is the system's error (its `code` is ENOENT, ECONNREFUSED, EACCES, ...). */
export class QmpUnreachable extends QmpFailure {
  override readonly name = 'QmpUnreachable';
  readonly code = 'qmp_unreachable';
}
