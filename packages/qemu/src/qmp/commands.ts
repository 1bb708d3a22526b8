/**
 * The types of commands and events, derived from `schema.gen.ts`, which is generated from QEMU's own schema. They say
 * what QEMU promises; the connection checks the envelope of each message and not every member, so treat members as
 * claims of a peer that may lie. Numbers above 2^53 lose precision.
 */

import type { QmpTimestamp } from './message.ts';
import { type QmpCommands, type QmpEvents, qmpEventNames } from './schema.gen.ts';

export type QmpCommandName = keyof QmpCommands;
export type QmpArguments<N extends QmpCommandName> = QmpCommands[N]['arguments'];
export type QmpReturn<N extends QmpCommandName> = QmpCommands[N]['returns'];

export type QmpEventName = keyof QmpEvents;

/** An event that this package has a type for. */
export type KnownQmpEvent = {
  [N in QmpEventName]: { event: N; data: QmpEvents[N]; timestamp: QmpTimestamp };
}[QmpEventName];

/** Any other event: `name` is QEMU's word for it. */
export interface UnknownQmpEvent {
  event: 'unknown';
  name: string;
  data: Record<string, unknown>;
  timestamp: QmpTimestamp;
}

export type QmpEvent = KnownQmpEvent | UnknownQmpEvent;

const known: ReadonlySet<string> = new Set(qmpEventNames);

export function toQmpEvent(message: {
  event: string;
  data: Record<string, unknown>;
  timestamp: QmpTimestamp;
}): QmpEvent {
  const { event, data, timestamp } = message;
  if (!known.has(event)) return { event: 'unknown', name: event, data, timestamp };
  // The name was looked up; the shape of `data` is QEMU's promise (see above).
  return { event, data, timestamp } as KnownQmpEvent;
}
