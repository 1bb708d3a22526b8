/**
 * One line from a QMP server to one checked message. Whatever the bytes, the answer is a message or a
 * `QmpProtocolError`: never another exception, never an object of unbounded depth. Members beyond the envelope
 * (what `return` and `data` hold) are not checked here.
 */

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

/** QEMU's own parser stops at 1024 levels as well. */
const MAX_DEPTH = 1024;

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
  if (exceedsDepth(line, MAX_DEPTH))
    throw new QmpProtocolError(`a message is nested over ${MAX_DEPTH} levels`);
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new QmpProtocolError(`a message is not JSON: ${excerpt(line)}`, { cause });
  }
  if (!isRecord(value)) throw new QmpProtocolError(`a message is not a JSON object: ${excerpt(line)}`);
  return value;
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

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether brackets outside of strings are nested deeper than `maxDepth`. Text that is not JSON gets any answer. */
export function exceedsDepth(text: string, maxDepth: number): boolean {
  if (text.length <= maxDepth) return false;
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const char = text.charCodeAt(i);
    if (char === 0x22) {
      i = endOfString(text, i + 1);
    } else if (char === 0x5b || char === 0x7b) {
      if (++depth > maxDepth) return true;
    } else if (char === 0x5d || char === 0x7d) {
      depth--;
    }
  }
  return false;
}

function endOfString(text: string, from: number): number {
  for (let i = from; i < text.length; i++) {
    const char = text.charCodeAt(i);
    if (char === 0x5c) i++;
    else if (char === 0x22) return i;
  }
  return text.length;
}

/** The beginning of a hostile text, fit for a message: short and without control characters. */
export function excerpt(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text);
}
