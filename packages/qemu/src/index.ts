/**
 * QEMU's own protocols: QMP, the guest agent, qemu-img. Depends on nothing but Node.
 */

export type {
  KnownQmpEvent,
  QmpArguments,
  QmpCommandName,
  QmpEvent,
  QmpEventName,
  QmpReturn,
  UnknownQmpEvent,
} from './qmp/commands.ts';
export {
  connectQmp,
  QMP_DEFAULT_TIMEOUT_MS,
  type QmpConnection,
  type QmpConnectOptions,
  type QmpExecuteOptions,
} from './qmp/connection.ts';
export {
  QmpBusy,
  QmpClosed,
  QmpError,
  QmpFailure,
  QmpProtocolError,
  QmpTimeout,
  QmpUnreachable,
} from './qmp/errors.ts';
export { indexSchema, type SchemaEntity, type SchemaLookup } from './qmp/introspect.ts';
export { createLineSplitter, type LineSplitter, LineTooLong } from './qmp/lines.ts';
export type { QmpGreeting, QmpTimestamp } from './qmp/message.ts';
