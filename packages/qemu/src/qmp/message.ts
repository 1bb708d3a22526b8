/**
 * One line from a QMP server to one checked message. Whatever the bytes, the answer is a message or a
 * `QmpProtocolError`: never another exception, never an object of unbounded depth. Members beyond the envelope
 * (what `return` and `data` hold) are not checked here.
 */

import { excerpt, isRecord, parseJson } from '../json.ts';
import { QmpProtocolError } from './errors.ts';

export interface QmpGreeting {
  version: { qemu: { major: number; minor: number; micro: number }; package: string };
  /** What the server can negotiate, e.g. `oob`. */
  capabilities: readonly string[];
}

export interface QmpTimestamp {
  seconds: number;
  microseconds: number;
}

export type QmpMessage =
  | { kind: 'greeting'; greeting: QmpGreeting }
  | { kind: 'return'; id: unknown; value: unknown }
  | { kind: 'error'; id: unknown; class: string; desc: string }
  | { kind: 'event'; event: string; data: Record<string, unknown>; timestamp: QmpTimestamp };

export function parseQmpLine(line: string): QmpMessage {
  const message = parseJsonObject(line);
  if (Object.hasOwn(message, 'return'))
    return { kind: 'return', id: message['id'], value: message['return'] };
  if (Object.hasOwn(message, 'error')) return parseError(message);
  if (Object.hasOwn(message, 'event')) return parseEvent(message);
  if (Object.hasOwn(message, 'QMP')) return { kind: 'greeting', greeting: parseGreeting(message['QMP']) };
  throw new QmpProtocolError(`a message is neither answer nor event: ${excerpt(line)}`);
}

function parseJsonObject(line: string): Record<string, unknown> {
  const parsed = parseJson(line);
  if (!parsed.ok)
    throw new QmpProtocolError(`a message ${parsed.reason}: ${excerpt(line)}`, { cause: parsed.cause });
  if (!isRecord(parsed.value)) throw new QmpProtocolError(`a message is not a JSON object: ${excerpt(line)}`);
  return parsed.value;
}

function parseError(message: Record<string, unknown>): QmpMessage {
  const error = message['error'];
  if (!isRecord(error) || typeof error['class'] !== 'string' || typeof error['desc'] !== 'string') {
    throw new QmpProtocolError('an error answer has no class and desc');
  }
  return { kind: 'error', id: message['id'], class: error['class'], desc: error['desc'] };
}

function parseEvent(message: Record<string, unknown>): QmpMessage {
  const { event, data = {}, timestamp } = message;
  if (typeof event !== 'string' || !isRecord(data) || !isRecord(timestamp)) {
    throw new QmpProtocolError('an event has no name, data object or timestamp');
  }
  const { seconds, microseconds } = timestamp;
  if (typeof seconds !== 'number' || typeof microseconds !== 'number') {
    throw new QmpProtocolError(
      `the event ${excerpt(event)} has a timestamp without seconds and microseconds`,
    );
  }
  return { kind: 'event', event, data, timestamp: { seconds, microseconds } };
}

function parseGreeting(value: unknown): QmpGreeting {
  const version = isRecord(value) ? value['version'] : undefined;
  const qemu = isRecord(version) ? version['qemu'] : undefined;
  const capabilities = isRecord(value) ? value['capabilities'] : undefined;
  if (!isRecord(version) || !isRecord(qemu) || !Array.isArray(capabilities)) {
    throw new QmpProtocolError('the greeting has no version and capabilities');
  }
  const { major, minor, micro } = qemu;
  if (typeof major !== 'number' || typeof minor !== 'number' || typeof micro !== 'number') {
    throw new QmpProtocolError('the greeting has no version numbers');
  }
  return {
    version: {
      qemu: { major, minor, micro },
      package: typeof version['package'] === 'string' ? version['package'] : '',
    },
    capabilities: capabilities.filter((capability) => typeof capability === 'string'),
  };
}
