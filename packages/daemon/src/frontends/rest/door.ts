/** What every plugin of the REST door is given, and the door's limits. */
import type { Version } from '@wirt/api';
import type { Actions } from '@wirt/core';
import type { FastifyInstance } from 'fastify';

/** The part of the logger that the door needs: constant event names, and fields. */
export interface RestLogger {
  debug(event: string, fields?: Readonly<Record<string, unknown>>): void;
  info(event: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(event: string, fields?: Readonly<Record<string, unknown>>): void;
  error(event: string, fields?: Readonly<Record<string, unknown>>): void;
}

export interface RestLimits {
  /** JSON bodies, but for exec. */
  readonly jsonBytes: number;
  /** The body of an exec: its standard input may have 12,000,000 characters by the contract. */
  readonly execBytes: number;
  readonly uploadBytes: number;
  /** A client that sends or takes nothing for this long in the middle of a body is dropped. */
  readonly stallMs: number;
  /** Comment lines on a quiet event stream. */
  readonly heartbeatMs: number;
  /** How long an event stream waits for the store's refusal before it answers 200. */
  readonly firstEventMs: number;
  readonly pingMs: number;
  /** A viewer of a console with more than this unsent is dropped. */
  readonly viewerBytes: number;
  /** How long close waits for answers under way. */
  readonly closeMs: number;
  /** How often it is checked that the socket file is still there. */
  readonly socketCheckMs: number;
}

export const defaultLimits: RestLimits = {
  jsonBytes: 1024 * 1024,
  execBytes: 16 * 1024 * 1024,
  uploadBytes: 1024 * 1024 * 1024,
  stallMs: 60_000,
  heartbeatMs: 15_000,
  firstEventMs: 250,
  pingMs: 30_000,
  viewerBytes: 1024 * 1024,
  closeMs: 5_000,
  socketCheckMs: 5_000,
};

export interface Door {
  readonly app: FastifyInstance;
  readonly actions: Actions;
  readonly log: RestLogger;
  readonly limits: RestLimits;
  readonly version: Version;
  /** Reads the OpenAPI document; asked for rarely, so it is not kept in memory. */
  openapi(): Promise<Record<string, unknown>>;
  /** One for each request under way; closing the door aborts them all. */
  readonly underWay: Set<AbortController>;
}
